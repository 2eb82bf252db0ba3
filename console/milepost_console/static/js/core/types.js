// Types of the JSON API. Not imported at run time.

/** @typedef {"Queued"|"Running"|"Completed"|"Failed"|"Cancelled"} RunStatus */

/**
 * @typedef {object} RunRow
 * @property {string} run_id
 * @property {string} function_id
 * @property {string} app_id
 * @property {RunStatus} status
 * @property {string} queued_at
 * @property {string|null} ended_at
 * @property {number|null} duration_ms
 * @property {string} event_id
 * @property {string} event_name
 * @property {string|null} origin_run_id
 * @property {string} [changed]
 */

/** @typedef {{name?: string, message?: string, stack?: string, code?: string, data?: unknown, cause?: Failure}} Failure */

/**
 * @typedef {object} Attempt
 * @property {number} attempt
 * @property {string} started_at
 * @property {string} ended_at
 * @property {number} duration_ms
 * @property {string} status
 * @property {Failure|null} error
 * @property {string|null} [next_at]
 */

/**
 * @typedef {object} Span
 * @property {string} step_id
 * @property {string} name
 * @property {"run"|"sleep"|"wait"|"invoke"|"function"} kind
 * @property {string} status
 * @property {string|null} started_at
 * @property {string|null} ended_at
 * @property {number|null} duration_ms
 * @property {string|null} due_at
 * @property {string|null} next_try_at
 * @property {number|null} turn
 * @property {boolean} [kept]
 * @property {unknown} output
 * @property {Failure|null} error
 * @property {Attempt[]} attempts
 * @property {{event: string, expression: string, matches_when: string}} [wait]
 * @property {{function_id: string, data: unknown, run_id: string|null}} [invoke]
 * @property {{event_id?: string, run_id?: string}} [detail]
 */

/** @typedef {{event_id: string, id?: string, name: string, data: Record<string, unknown>, ts: number, user?: unknown}} EventBody */

/**
 * @typedef {object} RunExtra
 * @property {string} app_version
 * @property {string} function_name
 * @property {string|null} outcome
 * @property {string|null} start_at
 * @property {string|null} started_at
 * @property {number} max_attempts
 * @property {string|null} start_by
 * @property {string|null} finish_by
 * @property {{event: string, expression: string}[]} cancel_on
 * @property {{run_id: string, step_id: string}|null} parent
 * @property {EventBody|null} event
 * @property {EventBody[]} events
 * @property {unknown} output
 * @property {Failure|null} error
 * @property {RunRow[]} replays
 * @property {Span[]} trace
 */

/** @typedef {RunRow & RunExtra} RunDetail */

/** @typedef {{number: number, at: string, level: string, source: string, text: string, step: string|null, step_id: string|null, attempt: number|null}} LogLine */

/** @typedef {{kept: "memory"|"cloudwatch"|"elsewhere", since: string|null, cut: number, lines: LogLine[]}} RunLog */

/** @typedef {{event_id: string, name: string, received_at: string}} EventRow */

/** @typedef {EventRow & EventBody & {runs: RunRow[], runs_cut?: boolean, skipped?: Record<string, string>, waits_ended?: {run_id: string, function_id: string, step: string}[]|null}} EventDetail */

/** @typedef {{event: string, expression?: string, cron?: undefined}} EventTrigger */
/** @typedef {{cron: string, tz?: string, next?: string[], jitter?: string|number|null, catch_up?: string, event?: undefined}} CronTrigger */

/** @typedef {{at: string, completed: number, failed: number, p50_ms: number|null}} Bucket */

/**
 * @typedef {object} Stats
 * @property {number} completed
 * @property {number} failed
 * @property {number} cancelled
 * @property {number} running
 * @property {number} [queued]
 * @property {number|null} p50_ms
 * @property {number|null} p99_ms
 * @property {Bucket[]} series
 * @property {boolean} [cut]
 */

/** @typedef {Record<"queued"|"running"|"looked_at"|"working"|"retrying"|"sleeping"|"waiting"|"invoking", number> & {oldest_at: string|null, cut: boolean}} Backlog */

/**
 * @typedef {object} FunctionInfo
 * @property {string} function_id
 * @property {string} app_id
 * @property {string} app_version
 * @property {string} name
 * @property {string} own_name
 * @property {(EventTrigger|CronTrigger)[]} triggers
 * @property {boolean} paused
 * @property {{max_attempts: number, backoff?: {first_delay?: number|null, factor?: number, max_delay?: number, jitter?: number}|null}} retries
 * @property {string} mode
 * @property {string|null} idempotency
 * @property {{start?: string|number|null, finish?: string|number|null}|null} timeouts
 * @property {{event: string, expression?: string, timeout?: string|number|null}[]} cancel_on
 * @property {{invocation_seconds: number|null, steps: number, retention_seconds: number}} limits
 * @property {Record<string, Schema>} schemas
 * @property {Stats} stats
 * @property {Backlog} [backlog]
 */

/**
 * @typedef {object} AppInfo
 * @property {string} app_id
 * @property {{kind: string, address: string}} target
 * @property {number|string} version
 * @property {string} app_version
 * @property {string|null} synced_at
 * @property {string} sdk
 * @property {string|null} error
 * @property {string[]} functions
 */

/** @typedef {{version: string, mode: "dev"|"stack", stack: string|null, now: string, can: Record<string, boolean>}} Info */

/** @typedef {Record<string, any>|boolean} Schema */

export {};
