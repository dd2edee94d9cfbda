// PocketBase opens SQLite with synchronous=NORMAL and has no setting for it. All writes take one connection of its own,
// which this sets to FULL; asking again each minute keeps the pool from closing it when it is idle.
onBootstrap((e) => {
  e.next();
  $app.nonconcurrentDB().newQuery("PRAGMA synchronous=FULL").execute();
});

cronAdd("durable", "* * * * *", () => {
  $app.nonconcurrentDB().newQuery("PRAGMA synchronous=FULL").execute();
});
