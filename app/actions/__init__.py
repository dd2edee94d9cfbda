"""Use-cases that are more than a query over one table: callable from Python, and as `/rpc/{name}`.

    async with database.writing(who) as session:
        await transfer(session, to_user_id=2, amount=500, note="thanks")

Each sees and does what the session's caller may. `ACTIONS` is the list that HTTP serves.
"""

from app.actions.balances import Entry, Statement, balance_of, statement
from app.actions.credits import grant, transfer, transfers
from app.actions.dashboard import Dashboard, Day, TopAuthor, TopTag, Totals, dashboard
from app.actions.search import search
from app.models import Post, Transfer
from app.query.functions import Action, Actions, Returns

ACTIONS: Actions = {
    "dashboard": Action(dashboard, reads=True),
    "search": Action(search, Returns.ROWS, Post, reads=True),
    "transfer": Action(transfer, Returns.ROW, Transfer, group=transfers),
    "grant": Action(grant, Returns.ROW, Transfer),
    "balance_of": Action(balance_of, reads=True),
    "statement": Action(statement, reads=True),
}

__all__ = [
    "ACTIONS",
    "Dashboard",
    "Day",
    "Entry",
    "Statement",
    "TopAuthor",
    "TopTag",
    "Totals",
    "balance_of",
    "dashboard",
    "grant",
    "search",
    "statement",
    "transfer",
    "transfers",
]
