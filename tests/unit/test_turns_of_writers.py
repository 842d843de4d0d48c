"""Writers of one process go first come, first served; whoever cannot wait any longer leaves the queue."""

import threading
import time

from cloud_bridge.store.turns import Turns


def test_turns_are_given_in_the_order_in_which_they_were_asked_for() -> None:
    turns, went = Turns(), []
    assert turns.take(0)

    def wait(number: int) -> None:
        assert turns.take(30)
        went.append(number)
        turns.give()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        for _ in range(1000):
            if turns.waiting == number + 1:
                break
            time.sleep(0.01)
    # Whoever had it is last, however soon they come back.
    turns.give()
    assert turns.take(30)
    turns.give()
    for thread in threads:
        thread.join(30)
    assert went == [0, 1, 2, 3, 4]
    assert turns.take(0)


def test_whoever_waited_in_vain_leaves_nothing_behind() -> None:
    turns = Turns()
    assert turns.take(0)
    assert not turns.take(0.01)
    assert turns.waiting == 0
    turns.give()
    assert turns.take(0)
