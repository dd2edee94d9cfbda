import pytest
from tests.reliability import auditing
from tests.reliability.trial import Conditions
@pytest.mark.parametrize("seed", [7, 1, 2])
async def test_it(spare_url, tmp_path, seed):
    f = await auditing.AUDIT.run(Conditions(spare_url, tmp_path, seed=seed))
    for v in f.violations: print("V", v[:600])
    assert not f.violations
