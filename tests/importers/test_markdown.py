"""Markdown folders: front matter, slugs, dates, authors, tags, and files that must not stop the rest."""

import os
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.importers import frontmatter, markdown
from app.importers.records import NotAPost, PostRecord, Problem, Record, Refused, UserRecord
from tests.importers.checks import DATA, assert_usable

RUST_BLOG = DATA / "markdown" / "rust-blog" / "content"
OCTOBER_15 = datetime(2019, 10, 15, tzinfo=UTC)


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def records_of(folder: Path, files: dict[str, str | bytes]) -> list[Record]:
    write(folder, files)
    records = list(markdown.read(folder).records)
    assert_usable(records)
    return records


def post_of(folder: Path, content: str, name: str = "post.md") -> PostRecord:
    post = records_of(folder, {name: content})[-1]
    assert isinstance(post, PostRecord), post
    return post


def problem_of(folder: Path, content: str | bytes, name: str = "post.md") -> tuple[int | None, str]:
    (problem,) = records_of(folder, {name: content})
    assert isinstance(problem, Problem), problem
    assert problem.place.path == str(folder / name)
    return problem.place.line, problem.reason


def toml(front: str = "", body: str = "Text.\n") -> str:
    return f'+++\ntitle = "A title"\n{front}\n+++\n\n{body}'


def yaml(front: str = "", body: str = "Text.\n") -> str:
    return f"---\ntitle: A title\n{front}\n---\n\n{body}"


@pytest.mark.skipif(not RUST_BLOG.is_dir(), reason="the sample data are absent")
def test_a_real_blog_is_read_without_problems() -> None:
    source = markdown.read(RUST_BLOG)
    records = list(source.records)
    assert_usable(records)
    assert source.total == 754
    assert Counter(type(record) for record in records) == {PostRecord: 750, NotAPost: 4, UserRecord: 163}
    posts = {record.slug: record for record in records if isinstance(record, PostRecord)}
    assert all(post.status == "published" and post.author for post in posts.values())
    post = posts["2019-10-15-Rustup-1.20.0"]
    assert post.title == "Announcing Rustup 1.20.0"
    assert post.published_at == OCTOBER_15
    assert post.author == "the-rustup-working-group"
    assert post.content.startswith("The rustup working group is happy")
    assert posts["inside-rust-2019-10-15-compiler-team-meeting"].tags == ("the compiler team",)


@pytest.mark.skipif(not RUST_BLOG.is_dir(), reason="the sample data are absent")
def test_files_of_a_real_blog_that_are_no_posts() -> None:
    skipped = [record for record in markdown.read(RUST_BLOG).records if isinstance(record, NotAPost)]
    assert [(Path(record.place.path).relative_to(RUST_BLOG).as_posix(), record.reason) for record in skipped] == [
        ("_index.md", "a section page"),
        ("inside-rust/_index.md", "a section page"),
        ("releases/_index.md", "a section page"),
        ("releases/latest.md", "no title"),
    ]


def test_toml_front_matter_makes_a_post(tmp_path: Path) -> None:
    front = 'date = 2019-10-15T12:30:00+02:00\nauthors = ["Rémy Rakic", "Mara Bos"]\ntags = ["rust", 1, "rust"]'
    user, other, post = records_of(tmp_path, {"a/post.md": toml(front)})
    assert isinstance(user, UserRecord)
    assert (user.username, user.full_name, user.email) == ("remy-rakic", "Rémy Rakic", None)
    assert isinstance(other, UserRecord)
    assert isinstance(post, PostRecord)
    assert post.published_at == datetime(2019, 10, 15, 10, 30, tzinfo=UTC)
    assert (post.slug, post.content, post.tags) == ("a-post", "Text.\n", ("rust", "1"))
    assert (post.author, post.authors) == ("remy-rakic", ("remy-rakic", "mara-bos"))


def test_yaml_front_matter_makes_a_post(tmp_path: Path) -> None:
    front = "date: 2019-10-15 14:30:00 +0200\nauthor: Mara Bos\ncategory: no\ntags:\n  - on\n  - 2019-10-15\n  - ~"
    post = post_of(tmp_path, yaml(front))
    assert post.published_at == datetime(2019, 10, 15, 12, 30, tzinfo=UTC)
    assert (post.author, post.tags) == ("mara-bos", ("on", "2019-10-15", "no"))


def test_a_file_from_another_system_is_read_alike(tmp_path: Path) -> None:
    content = "\ufeff" + toml("", "One.\n\nTwo.\n").replace("\n", "\r\n")
    post = post_of(tmp_path, content)
    assert (post.title, post.content) == ("A title", "One.\n\nTwo.\n")


@pytest.mark.parametrize(
    ("name", "front", "slug"),
    [
        ("a.md", 'path = "2019/10/15/Rustup-1.20.0"', "2019-10-15-Rustup-1.20.0"),
        ("a.md", 'path = "/news/first/"\nslug = "second"', "news-first"),
        ("a.md", 'slug = "second"', "second"),
        ("news/Rust-1.20.0.md", "", "news-Rust-1.20.0"),
        ("news/foo/index.md", "", "news-foo"),
        ("index.md", "", "index"),
        ("_posts/2019-10-15-hello-world.markdown", "", "hello-world"),
        ("2019-10-15-hello.md", 'slug = "mine"', "mine"),
        ("Ünï cödé.md", "", "Uni-code"),
    ],
)
def test_slug_comes_from_path_then_slug_then_the_file(tmp_path: Path, name: str, front: str, slug: str) -> None:
    assert post_of(tmp_path, toml(front), name).slug == slug


@pytest.mark.parametrize(
    ("name", "front"),
    [
        ("a.md", "date = 2019-10-15"),
        ("a.md", "date = 2019-10-15T00:00:00"),
        ("a.md", 'date = "2019-10-15"'),
        ("2018-01-01-a.md", 'date = "2019-10-15"\npath = "2018/02/02/a"'),
        ("2018-01-01-a.md", 'path = "2019/10/15/a"'),
        ("a.md", 'path = "inside-rust/2019/10/15/a"'),
        ("2019/10/15/2018-01-01-a.md", ""),
        ("news/2019/10/15/a/index.md", ""),
        ("_posts/2019-10-15-a.md", ""),
        ("2019-10-15_a/index.md", ""),
    ],
)
def test_date_comes_from_front_matter_then_paths_then_the_name(tmp_path: Path, name: str, front: str) -> None:
    post = post_of(tmp_path, toml(front), name)
    assert (post.status, post.published_at) == ("published", OCTOBER_15)


@pytest.mark.parametrize(
    "content",
    [
        toml(),
        toml("date = 2019-10-15\ndraft = true"),
        yaml("date: 2019-10-15\ndraft: yes"),
        yaml("date: 2019-10-15\npublished: false"),
    ],
)
def test_post_without_a_date_or_marked_so_is_a_draft(tmp_path: Path, content: str) -> None:
    post = post_of(tmp_path, content)
    assert (post.status, post.published_at) == ("draft", None)


def test_tags_come_from_every_place_in_order(tmp_path: Path) -> None:
    front = (
        'tags = "one  thing"\ncategory = "two"\ncategories = ["one thing", "three"]\n'
        '[taxonomies]\ntags = ["four"]\ncategories = ["five", ""]\n[extra]\nteam = "six"\n'
    )
    assert post_of(tmp_path, toml(front)).tags == ("one thing", "four", "three", "five", "two", "six")


def test_a_user_is_sent_once_and_two_spellings_are_one_user(tmp_path: Path) -> None:
    records = records_of(
        tmp_path,
        {
            "a.md": toml('authors = ["Tomáš Šedovič"]'),
            "b.md": toml('authors = ["Tomas Sedovic", "Tomáš Šedovič"]'),
        },
    )
    assert [type(record) for record in records] == [UserRecord, PostRecord, PostRecord]
    assert isinstance(records[2], PostRecord)
    assert records[2].authors == ("tomas-sedovic",)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("_index.md", "+++\nbroken", "a section page"),
        ("a.md", "# Only Markdown\n", "no front matter"),
        ("a.md", "", "no front matter"),
        ("a.md", "+++\n+++\n", "no title"),
        ("a.md", "---\n---", "no title"),
        ("a.md", "---\ntitle: ' '\n---\n", "no title"),
    ],
)
def test_section_pages_and_files_without_title_are_no_posts(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (record,) = records_of(tmp_path, {name: content})
    assert isinstance(record, NotAPost)
    assert record.reason == reason


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"+++\ntitle = 'x'\n+++\n\xff", 4, "not UTF-8"),
        ("+++\ntitle = 'x'\n+++\nText\0\n", 4, "U+0000"),
        (toml('slug = "a\\u0000b"\nauthor = "\\u0000"'), 4, "`author`: the name contains U+0000"),
        (yaml('tags: "\\ud800"'), 3, "`tags`: the tag contains U+D800"),
        ("+++\ntitle = 'x'\n", 1, "no closing +++"),
        ("---\ntitle: x\n+++\n", 1, "no closing ---"),
        ("+++\ntitle = 'x'\nauthors = [\n+++\n", 4, "no TOML"),
        ("+++\ntitle = \n+++\n", 2, "no TOML"),
        ("---\ntitle: x\nauthor: [\n---\n", 4, "no YAML"),
        ("---\ntitle: x\n\x01\n---\n", 3, "no YAML"),
        ("---\n- x\n---\n", 2, "no table"),
        ("---\ntitle: &a x\nauthor: *a\n---\n", 2, "anchors and aliases"),
        ("---\ntitle: x\nauthor: *a\n---\n", 3, "anchors and aliases"),
        ("---\ntitle: " + "[" * 9000 + "\n---\n", 2, "nested too deeply"),
        ("+++\ntitle = " + "[" * 9000 + "\n+++\n", None, "nested too deeply"),
        ("+++\na = 1\n" + ".".join("a" * 30000) + " = 1\n+++\n", 3, "too many parts"),
        ("+++\na = " + "9" * 5000 + "\n+++\n", None, "out of range"),
        (toml("tags = [0x" + "f" * 5000 + "]"), 3, "`tags`: a number is out of range"),
        (toml("x = '" + "y" * frontmatter.SIZE + "'"), 1, "larger than 64 KiB"),
        (toml("date = 2019-13-45"), 3, "no TOML"),
        (toml("date = 12:30:00"), 3, "`date`: a date is expected, not time"),
        (toml('path = "2019/13/45/a"'), 3, "`path`: '2019-13-45' is no date"),
        (yaml("date: 2019-13-45"), 3, "`date`: '2019-13-45' is no date"),
        (yaml("author: A\ndate: !!timestamp soon"), 4, "`date`: 'soon' is no date"),
        (yaml("draft: perhaps"), 3, "`draft` must be true or false, not 'perhaps'"),
        (yaml("author: {name: x}"), 3, "`author`: a text is expected, not a dict"),
        (yaml("tags: " + "x" * 101), 3, "`tags`: the tag"),
        ("---\ntitle: " + "x" * 201 + "\n---\n", 2, "`title`: the title"),
        ("+++\ntitle = ['x']\n+++\n", 2, "`title`: a text is expected, not a list"),
    ],
)
def test_broken_file_is_a_problem_with_its_line(
    tmp_path: Path, content: str | bytes, line: int | None, reason: str
) -> None:
    found_line, found_reason = problem_of(tmp_path, content)
    assert reason in found_reason
    assert found_line == line


def test_bad_day_in_a_file_name_is_a_problem(tmp_path: Path) -> None:
    assert problem_of(tmp_path, toml(), "2019-13-45-a.md") == (None, "'2019-13-45' is no date")


def test_duplicate_slug_names_the_first_and_the_rest_goes_on(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a.md": toml('slug = "x"'),
        "b.md": toml('slug = "x"\nauthor = "B"'),
        "c.md": toml(),
    }
    first, problem, last = records_of(tmp_path, files)
    assert isinstance(first, PostRecord)
    assert isinstance(problem, Problem)
    assert problem.reason == f"the slug 'x' is that of {tmp_path / 'a.md'}"
    assert isinstance(last, PostRecord)


def test_files_are_sorted_and_others_are_not_counted(tmp_path: Path) -> None:
    write(tmp_path, {"b.md": toml(), "a/z.MD": toml(), "a.txt": toml(), "c.markdown": toml()})
    source = markdown.read(tmp_path)
    assert source.total == 3
    assert [getattr(record, "slug", None) for record in source.records] == ["a-z", "b", "c"]


def test_files_are_read_one_at_a_time(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": toml(), "b.md": toml()})
    records = markdown.read(tmp_path).records
    next(records)
    (tmp_path / "b.md").write_text(toml('slug = "changed-meanwhile"'))
    post = next(records)
    assert isinstance(post, PostRecord)
    assert post.slug == "changed-meanwhile"


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"outside/secret.md": toml(), "inside/a.md": toml()})
    inside = tmp_path / "inside"
    (inside / "b.md").symlink_to(tmp_path / "outside" / "secret.md")
    (inside / "c.md").symlink_to(inside / "a.md")
    (inside / "folder").symlink_to(tmp_path / "outside")
    (inside / "gone.md").symlink_to(inside / "nothing.md")
    os.mkfifo(inside / "pipe.md")
    _, link, copy, gone, pipe = records_of(inside, {})
    assert isinstance(link, NotAPost)
    assert isinstance(copy, PostRecord)
    assert isinstance(gone, Problem)
    assert isinstance(pipe, NotAPost)


@pytest.mark.parametrize(
    "name", [b".md", b"..md", b"...md", b" .md", b"\xff.md", b"\x1b[31m\n.md", b"index.md", b"x" * 252 + b".md"]
)
def test_any_file_name_makes_a_slug(tmp_path: Path, name: bytes) -> None:
    assert isinstance(records_of(tmp_path, {os.fsdecode(name): toml()})[0], PostRecord)


def test_file_over_the_limit_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "FILE_SIZE", 1 << 20)
    assert problem_of(tmp_path, toml("", "x" * (1 << 20)))[1] == "the file is larger than 1 MiB"


def test_missing_folder_is_one_problem(tmp_path: Path) -> None:
    source = markdown.read(tmp_path / "nothing")
    (problem,) = source.records
    assert isinstance(problem, Problem)
    assert "No such file" in problem.reason


FENCES = st.sampled_from([b"+++\n", b"---\n", b"\n", b"title = 'x'\n", b"title: x\n", b"date: ", b"tags = ", b"path: "])


@given(st.binary() | st.lists(st.binary(max_size=20) | FENCES).map(b"".join))
def test_any_bytes_make_usable_records(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-bytes"
    folder.mkdir(exist_ok=True)
    records = records_of(folder, {"a.md": data, "z.md": toml()})
    assert isinstance(records[-1], PostRecord)


YAML_PARTS = ["title: x\n", "a: ", "|- ", "? ", "[", "]", "{", "}", ", ", "!!int ", "!!null ", "!x ", "&a ", "*a ", "'"]


@given(st.lists(st.sampled_from([*YAML_PARTS, '"', "#", "%", "@", "\\ud800", "<<: ", "\n", "  ", "- ", "~", "é"])))
def test_any_yaml_is_read_or_refused(parts: list[str]) -> None:
    with suppress(Refused):
        frontmatter.parse(f"---\n{''.join(parts)}\n---\n")
