from __future__ import annotations

import pytest

from pysaslauthd.wire.ldap import codes


@pytest.mark.parametrize(
    ("code", "message", "said"),
    [
        (codes.INVALID_CREDENTIALS, "", "result 49 (invalidCredentials)"),
        (codes.INSUFFICIENT_ACCESS_RIGHTS, "not for you", "result 50 (insufficientAccessRights): not for you"),
        (12345, "", "result 12345"),
        (12345, "who knows", "result 12345: who knows"),
    ],
)
def test_a_result_has_number_name_and_message(code: int, message: str, said: str) -> None:
    assert codes.told(code, message) == said


def test_every_code_that_is_gone_by_is_named_as_in_the_standard() -> None:
    # RFC 4511 section 4.1.9 has names in camel case, of the same words.
    numbers = {name: code for name, code in vars(codes).items() if name.isupper() and isinstance(code, int)}
    assert len(numbers) > 15
    for name, code in numbers.items():
        assert codes.told(code).lower() == f"result {code} ({name.replace('_', '').lower()})"
