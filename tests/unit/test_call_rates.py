"""The token buckets that bound a tenant's calls."""

import pytest

from deployment_service.api.rates import CallRates
from deployment_service.domain.errors import ResourceExhausted


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(rates: CallRates, owner: str, most: int = 1000) -> int:
    for count in range(most):
        try:
            rates.take(owner)
        except ResourceExhausted:
            return count
    return most


def test_a_tenant_has_four_seconds_worth_and_then_its_rate():
    clock = Clock()
    rates = CallRates(10, clock=clock)
    assert taken(rates, "a") == 40
    clock.now = 1.0
    assert taken(rates, "a") == 10
    clock.now = 100.0
    assert taken(rates, "a") == 40


def test_tenants_have_buckets_of_their_own():
    rates = CallRates(1, clock=Clock())
    assert (taken(rates, "a"), taken(rates, "b")) == (4, 4)


def test_the_refusal_says_when_there_is_room_again():
    clock = Clock()
    rates = CallRates(0.5, clock=clock)
    assert taken(rates, "a") == 2
    with pytest.raises(ResourceExhausted) as caught:
        rates.take("a")
    assert caught.value.retry_after_s == pytest.approx(2.0)
    clock.now += caught.value.retry_after_s
    rates.take("a")
