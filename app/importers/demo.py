"""Sample content for trying things out: users, tags and posts made of word lists, the same for the same options.

The same are usernames, full names, addresses and tag names, and of posts the slug, title, text, status, author, tags,
`created_at`, `updated_at` and `published_at`. The database adds `uid` (random), ids in order, and the stamps of users,
tags and revisions. Item n depends on the seed and on n (a post also on how many users and tags there are), so that a
longer run begins with what a shorter one makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from app.importers.records import Place, PostRecord, Record, Source, Status, TagRecord, UserRecord

END = datetime(2026, 1, 1, tzinfo=UTC)  # everything but scheduled posts lies in the two years before
SPAN = timedelta(days=730)
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)  # scheduled posts: whenever the content is made, this is still to come


def words(text: str, separator: str | None = None) -> list[str]:
    """The words of a text, or its phrases between separators."""
    return [" ".join(word.split()) for word in text.split(separator)]


FIRST_NAMES = words("""
    Ada Alma Anton Astrid Aya Bruno Carla Chidi Clara Dario Diego Edith Elif Emil Esra Farid Frida Gita Hana Hugo
    Ines Ivan Jonas Juno Kaito Keira Lars Leila Lucia Mara Milan Mina Nadia Noor Olga Omar Paula Pavel Rosa Sami
""")
LAST_NAMES = words("""
    Abbot Bauer Berg Castro Chen Dahl Diaz Ekman Fischer Garcia Haddad Hansen Ito Jansen Kaya Keller Kovacs Laine
    Lund Marsh Meyer Moreno Nagy Novak Okafor Olsen Park Petrov Quinn Reyes Rossi Sato Silva Stone Toth Varga Vidal
    Weber Yilmaz Zeman
""")
TAGS = words("""
    cities rivers trains maps gardens weather markets bridges harbours libraries archives schools music theatre film
    photography painting printing typography letters radio science astronomy biology physics mathematics statistics
    software databases networks design cooking bread coffee wine farming forests mountains walking cycling sailing
    football chess history politics economy housing energy health travel languages books poetry interviews reviews
""")

ADJECTIVES = words("""
    quiet early late small open hidden patient ordinary careful distant northern southern old new crowded empty
    stubborn gentle uneven borrowed forgotten steady curious public slow
""")
PLACES = words("""
    harbour library station market bridge valley archive workshop garden theatre square island museum bakery
    lighthouse printing-house observatory river school cinema orchard newsroom ferry reading-room tower
""")
PEOPLE = words(
    """
    the baker|a retired pilot|the night editor|two students|the harbour master|our correspondent|a group of volunteers
    |the new director|a family of printers|the last lamplighter|the archivist|three neighbours|a young cartographer
    |the council|an amateur astronomer|the choir
""",
    "|",
)
ACTIONS = words(
    """
    opened the doors an hour early|kept a diary of every delay|counted the visitors twice
    |repaired what others threw away|asked for more time and got it|read the letters aloud
    |found a map nobody had catalogued|refused to sell
    |planted the first trees|learned the work by watching|wrote down the recipe at last
    |moved the whole collection by hand|changed the timetable without a word
    |painted the walls green again|drew up a plan for the winter
""",
    "|",
)
REASONS = words(
    """
    because nobody else would|although the budget was gone|long before the press noticed|and the neighbours agreed
    |while the rain went on|after years of waiting|to the surprise of the council|as it had been done before the war
    |without asking for permission|since the figures left no choice|and that changed the evening
""",
    "|",
)
HEADINGS = ["How it began", "What the figures say", "A second opinion", "What happens next", "The cost", "Voices"]

STATUSES: tuple[tuple[Status, bool], ...] = (
    ("published", False),
    ("published", True),
    ("draft", False),
    ("archived", False),
)
STATUS_WEIGHTS = (80, 4, 10, 6)  # published, scheduled, draft, archived


def source(users: int = 20, posts: int = 200, tags: int = 30, seed: int = 1) -> Source:
    """The stream: users, then tags, then posts. Posts without users belong to the loader's owner."""
    return Source("demo", posts, _records(users, posts, tags, seed))


def _records(users: int, posts: int, tags: int, seed: int) -> Iterator[Record]:
    people = list(_users(users, seed))
    yield from people
    names = [_tag(number) for number in range(tags)]
    for number, name in enumerate(names, 1):
        yield TagRecord(name, Place(f"demo tag {number}"))
    titles: dict[str, int] = {}
    for number in range(1, posts + 1):
        yield _post(number, Random(f"{seed}/post/{number}"), people, names, titles)


def _users(count: int, seed: int) -> Iterator[UserRecord]:
    taken: dict[str, int] = {}
    for number in range(1, count + 1):
        random = Random(f"{seed}/user/{number}")
        first, last = random.choice(FIRST_NAMES), random.choice(LAST_NAMES)
        name = _counted(f"{first}-{last}".lower(), taken)
        yield UserRecord(name, f"{first} {last}", f"{name}@example.org", True, Place(f"demo user {number}"))


def _tag(number: int) -> str:
    again, index = divmod(number, len(TAGS))
    return f"{TAGS[index]} {again + 1}" if again else TAGS[index]


def _post(number: int, random: Random, users: list[UserRecord], tags: list[str], titles: dict[str, int]) -> PostRecord:
    title = _title(random)
    author = random.choice(users).username if users else None
    status, scheduled = random.choices(STATUSES, STATUS_WEIGHTS)[0]
    created_at = END - timedelta(seconds=random.randrange(int(SPAN.total_seconds())))
    waited = timedelta(minutes=random.randrange(10_000))
    published_at = FUTURE + waited if scheduled else min(created_at + waited, END)
    return PostRecord(
        slug=_counted(title.lower().replace(" ", "-"), titles),
        title=title,
        content=_text(random),
        status=status,
        published_at=published_at if status == "published" else None,
        created_at=created_at,
        updated_at=min(created_at + waited, END),
        author=author,
        authors=(author,) if author else (),
        tags=tuple(random.sample(tags, min(len(tags), random.randrange(5)))),
        place=Place(f"demo post {number}"),
    )


def _counted(name: str, taken: dict[str, int]) -> str:
    """`name`, then `name-2`, `name-3`. No name of the word lists ends in a number."""
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}-{taken[name]}"


def _title(random: Random) -> str:
    adjective, place = random.choice(ADJECTIVES), random.choice(PLACES)
    match random.randrange(4):
        case 0:
            return f"The {adjective} {place}"
        case 1:
            return (
                f"A {adjective} year at the {place}"
                if adjective[0] not in "aeiou"
                else f"The {place} in {adjective} light"
            )
        case 2:
            return f"Notes from the {adjective} {place}"
        case _:
            return f"What the {place} taught the {adjective} {random.choice(PLACES)}"


def _text(random: Random) -> str:
    """Markdown: a paragraph, then up to four more, some under a heading."""
    parts = [_paragraph(random)]
    for heading in random.sample(HEADINGS, random.randrange(5)):
        if random.random() < 0.6:
            parts.append(f"## {heading}")
        parts.append(_paragraph(random))
    return "\n\n".join(parts) + "\n"


def _paragraph(random: Random) -> str:
    return " ".join(_sentence(random) for _ in range(random.randrange(2, 6)))


def _sentence(random: Random) -> str:
    people, action = random.choice(PEOPLE), random.choice(ACTIONS)
    match random.randrange(4):
        case 0:
            sentence = f"{people} {action}"
        case 1:
            sentence = f"at the {random.choice(ADJECTIVES)} {random.choice(PLACES)}, {people} {action}"
        case 2:
            sentence = f"{people} {action} {random.choice(REASONS)}"
        case _:
            year = random.randrange(1890, 2024)
            sentence = f"in {year} {people} {action} {random.choice(REASONS)}"
    return f"{sentence[0].upper()}{sentence[1:]}."
