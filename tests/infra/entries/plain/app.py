from milepost import App

app = App("plain")
