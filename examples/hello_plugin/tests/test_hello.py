"""The page and the hook, called as the platform calls them."""

import pytest
from hosthold_hello_plugin import plugin
from hosthold_hello_plugin.pages import say_hello
from hosthold_sdk import PageRequest, Rejected
from hosthold_sdk.testing import sample_actor, sample_site


def test_page_greets_the_visitor() -> None:
    (page,) = plugin.register_pages()
    assert page.handler is say_hello
    assert say_hello(PageRequest(sample_actor(label="Ada"), query={})).context == {"name": "Ada"}


def test_check_site_refuses_to_say_goodbye() -> None:
    plugin.check_site(sample_site("hello.example"))
    with pytest.raises(Rejected, match="says goodbye"):
        plugin.check_site(sample_site("example.com", "goodbye.example"))
