"""The page at /docs: complete, closed to everything else, and alone allowed to run a script."""

from __future__ import annotations

import re

import httpx2


async def test_page_needs_nothing_from_elsewhere(client: httpx2.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "script-src 'self'" in policy[0]
    assert "unsafe" not in policy[0]
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len([file for file in files if file.startswith("docs/")]) == 3
    script = await client.get("/docs/start.js")
    for text in (page.text, script.text):
        assert "//" not in text.replace("// ", "")
    for file in files:
        if not file.startswith("data:"):
            found = await client.get(f"/{file}")
            assert found.status_code == 200, file
            assert found.headers["x-content-type-options"] == "nosniff"
    assert "javascript" in (await client.get("/docs/files/js/swagger-ui-bundle.js")).headers["content-type"]


async def test_page_serves_only_its_files(client: httpx2.AsyncClient) -> None:
    for path in ("/docs/files/", "/docs/files/../__init__.py", "/docs/files/%2e%2e/%2e%2e/__init__.py", "/docs/x"):
        assert (await client.get(path)).status_code == 404, path
    assert (await client.post("/docs")).status_code == 405
    assert (await client.delete("/docs/files/css/swagger-ui.css")).status_code == 405


async def test_other_answers_keep_the_strict_policy(client: httpx2.AsyncClient) -> None:
    for path in ("/openapi.json", "/posts", "/docs/start.js", "/nowhere"):
        assert (await client.get(path)).headers.get_list("content-security-policy") == ["default-src 'none'"]
