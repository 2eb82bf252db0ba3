// An app written with the official JavaScript SDK, which knows nothing of Milepost. argv: its port.
import { Inngest, NonRetriableError, RetryAfterError } from "inngest";
import { createServer } from "inngest/node";

const client = new Inngest({ id: "official-js", isDev: true, logger: silent() });
let tries = 0;

function silent() {
  const nothing = () => undefined;
  return { info: nothing, warn: nothing, error: nothing, debug: nothing };
}

const double = client.createFunction({ id: "double", triggers: [] }, async ({ event, step }) =>
  step.run("double it", () => event.data.n * 2),
);

const story = client.createFunction(
  { id: "story", retries: 2, triggers: [{ event: "js/order" }] },
  async ({ event, step }) => {
    const paid = await step.run("charge", () => event.data.cents);
    const sides = await Promise.all([step.run("left", () => "l"), step.run("right", () => "r")]);
    const tried = await step.run("flaky", () => {
      tries += 1;
      if (tries < 2) throw new RetryAfterError("database is down", "1s");
      return tries;
    });
    await step.sleep("nap", "1s");
    const answer = await step.waitForEvent("answer", {
      event: "js/answer",
      timeout: "1m",
      if: "event.data.id == async.data.id",
    });
    const child = await step.invoke("child", { function: double, data: { n: 21 } });
    await step.sendEvent("tell", { name: "js/sent", data: { paid } });
    return { paid, sides, tried, answer: answer?.data.word ?? null, child };
  },
);

const sent = client.createFunction({ id: "sent", triggers: [{ event: "js/sent" }] }, async ({ event }) => event.data.paid);

const failing = client.createFunction(
  {
    id: "failing",
    retries: 3,
    triggers: [{ event: "js/fail" }],
    onFailure: async ({ step, error }) => step.run("note", () => error.message),
  },
  async ({ step }) => {
    await step.run("boom", () => {
      throw new NonRetriableError("no way");
    });
  },
);

createServer({ client, functions: [story, double, sent, failing] }).listen(Number(process.argv[2]), "127.0.0.1");
