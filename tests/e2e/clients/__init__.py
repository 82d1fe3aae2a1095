import pytest

pytest.register_assert_rewrite("tests.e2e.clients.browsers")  # so that a failure shows what the page complained of
