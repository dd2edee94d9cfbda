// The collections of the benchmarks. Everybody may read what is public and create posts; logs of requests are off, as
// with the other peers. A superuser exists, so that the first start offers no form to make one.
migrate((app) => {
  const authors = new Collection({
    type: "base",
    name: "authors",
    listRule: "",
    viewRule: "",
    fields: [
      { name: "username", type: "text", required: true, max: 50 },
      { name: "full_name", type: "text", max: 100 },
    ],
    indexes: ["CREATE UNIQUE INDEX authors_username ON authors (username)"],
  });
  app.save(authors);

  const tags = new Collection({
    type: "base",
    name: "tags",
    listRule: "",
    viewRule: "",
    fields: [{ name: "name", type: "text", required: true, max: 100 }],
    indexes: ["CREATE UNIQUE INDEX tags_name ON tags (name)"],
  });
  app.save(tags);

  const isPublic = 'status = "published" && published_at <= @now && deleted_at = ""';
  app.save(new Collection({
    type: "base",
    name: "posts",
    listRule: isPublic,
    viewRule: isPublic,
    createRule: "",
    fields: [
      { name: "author", type: "relation", collectionId: authors.id, maxSelect: 1, required: true },
      { name: "title", type: "text", required: true, max: 200 },
      { name: "slug", type: "text", required: true, max: 200, autogeneratePattern: "post-[a-z0-9]{12}" },
      { name: "content", type: "text", max: 1000000 },
      { name: "status", type: "select", values: ["draft", "published", "archived"], maxSelect: 1, required: true },
      { name: "published_at", type: "date" },
      { name: "deleted_at", type: "date" },
      { name: "created_at", type: "autodate", onCreate: true },
      { name: "updated_at", type: "autodate", onCreate: true, onUpdate: true },
      { name: "tags", type: "relation", collectionId: tags.id, maxSelect: 100 },
    ],
    indexes: [
      "CREATE UNIQUE INDEX posts_slug ON posts (slug)",
      "CREATE INDEX posts_feed ON posts (status, published_at, id)",
      "CREATE INDEX posts_author ON posts (author, published_at, id)",
    ],
  }));

  const settings = app.settings();
  settings.logs.maxDays = 0;
  app.save(settings);

  const superuser = new Record(app.findCollectionByNameOrId("_superusers"));
  superuser.set("email", "bench@example.org");
  superuser.setRandomPassword();
  app.save(superuser);
});
