"""Other services over the rows of Broadsheet's own tables, each written as its own documentation would have it.

`python -m uvicorn bench.peers.NAME:app`, with BENCH_DATABASE_URL (`postgresql://user@/db?host=/folder` or
`sqlite:////path`) and BENCH_POOL, the size of the connection pool. They answer the same paths:

    GET /posts?limit=20                 {"items": [...]}, newest first; &before_id=, &tag=NAME, &author=ID, &offset=
    GET /posts/count                    {"count": n}
    GET /posts/{id}                     404 where there is none
    POST /posts                         {"user_id", "title", "content", "tag_ids"}: 201 with the post
    POST /transfers                     {"from_user_id", "to_user_id", "amount"}: 201 {"id"}, 409 when funds are short
    POST /login                         {"email", "password"}: {"token"}
    GET /health                         {"ok": true}

A post is public when it is published, its time has come and it is not deleted: all say so in their queries. None
has Broadsheet's rules, versions, revisions or limits. They map the columns that they need and no more.
"""
