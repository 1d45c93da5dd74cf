"""The state machine: everything that may happen to allocation, in random order, on a real database, beside the model.

After every step the service's audit is clean and its books are the model's; what it has told channels, customers and routing adds up to the
books. Batches that ran at once on several connections are right if the model, taking them one after the other in one order or
another, says the same: so even races are judged to the unit.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import permutations
from typing import Any, ClassVar

import asyncpg
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from hypothesis.strategies import binary, sampled_from

from shared.contracts.envelope import new_id
from shared.messaging.message import Received
from tests.allocation.comparing import Listeners, agrees, books_of, differences
from tests.allocation.ground import CONNECTIONS, MOST_STEPS, Ground, Heard, Task
from tests.allocation.happenings import COMMUTING, GOODS, KIT, LOCATIONS, THEMES, Batch, Choices, Happening, Scene, register
from tests.allocation.messages import kit, products, receipt
from tests.allocation.model import Model, Shelf, Unit, Upload, UploadedRow

BYTES = 24
STEP_BYTES = 1 + 4 * BYTES
"""One to say what kind of step it is, and enough for four batches."""

AT_ANY_TIME = (
    "serve_queues",
    "continue_dating",
    "find_neglected_queues",
    "tell_promises",
    "settle_sequences",
    "apply_uploads",
    "expire_holds",
)
"""Schedules that may run beside anything."""

RELEASES = ("release_due_preorders",)
"""First when time has passed: in the service a date that has come is looked at every second."""


@dataclass
class Play:
    """One story: the world, what the service made of it, and what the model says."""

    ground: Ground
    theme: str
    long_queues: bool
    story: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = Model(now=Scene.now)
        self.scene = Scene(self.model, hold_all=not self.long_queues)
        self.listeners = Listeners()

    async def open(self) -> None:
        """The doors open: products, a kit, two locations, some stock."""
        await self.ground.empty()
        self.ground.loaded.set_limits(low=self.long_queues)
        say = self.scene.say
        await self._alone([say(products("MUG", "CUP")), say(products("TNT", hazmat=True))])
        await self._alone([say(kit(KIT, MUG=1, CUP=2))])
        await self._alone([say(register("east", Choices(b""))), say(register("west", Choices(b"\x01")))])
        stock = [
            receipt(quantity, sku, at_location=location) for sku in GOODS for location, quantity in zip(LOCATIONS, (4, 3), strict=True)
        ]
        for told in stock:
            self.scene.there[told.lines[0].sku, told.location] += told.lines[0].quantity
        await self._alone([say(told) for told in stock])
        await self.check()

    async def something_happens(self, choices: Choices) -> None:
        """One batch alone, or it is held up on its way."""
        happening = choices.one_of(THEMES[self.theme])
        batch = self._batch(happening, choices)
        if batch and choices.rarely(9):
            self.story.append(f"held up: {_told(batch)}")
            self.scene.held += batch
        elif batch:
            if self.scene.lagging and happening not in COMMUTING:
                await self.catch_up()
            await self._alone(batch)
            await self.check()

    def _batch(self, happening: Happening, choices: Choices) -> Batch:
        batch = happening(self.scene, choices)
        if batch and choices.rarely(6):
            batch += self.scene.again(type(batch[0].data), choices)
        return batch

    async def held_messages_arrive(self, choices: Choices) -> None:
        """Some of what waits comes or is tried again, of one type, in any order."""
        held = self.scene.held
        if not held:
            return
        await self.catch_up()
        kind = type(choices.one_of(held).data)
        batch = [message for message in held if type(message.data) is kind][-3:]
        batch = batch[::-1] if choices.rarely(2) else batch
        self.scene.held = [message for message in held if message not in batch]
        await self._alone(batch)
        await self.check()

    async def queues_are_served(self) -> None:
        """The schedule that every replica runs twice a second."""
        await self.catch_up()
        self.story.append("queues are served")
        await self._scheduled("serve_queues")
        self.model.serve_queues()
        await self.check()

    async def time_passes(self, choices: Choices) -> None:
        """And every schedule runs."""
        await self.catch_up()
        for message in [message for message in self.scene.held if choices.rarely(4)]:
            self.scene.held.remove(message)  # lost
        passed = choices.one_of([timedelta(minutes=1), timedelta(minutes=70), timedelta(hours=26), timedelta(days=3, hours=5)])
        self.story.append(f"{passed} later")
        self.scene.now += passed
        self.model.now = self.scene.now
        for schedule in sorted(self.ground.loaded.schedules, key=lambda name: name not in RELEASES):
            await self._scheduled(schedule)
            self.model.run(schedule)
        self.scene.lagging = self.long_queues  # a hold that ended may have left more to share out than one transaction does
        await self.catch_up()
        await self.check()

    async def catch_up(self) -> None:
        """Long queues are served to their end."""
        steps = 0
        while self.scene.lagging and (await self.ground.read())["work"]:
            await self._scheduled("serve_queues")
            steps += 1
            assert steps < MOST_STEPS, "the work on queues never ends"
        self.scene.lagging = False

    async def a_file_of_counts_is_uploaded(self, choices: Choices) -> None:
        """An operator uploads counts and wants them applied; the schedule does it when time passes."""
        await self.catch_up()
        now, upload_id, whole = self.scene.tick(), new_id(), choices.rarely(3)
        shelves = dict.fromkeys((choices.one_of(GOODS), choices.one_of(LOCATIONS)) for _ in range(1 + choices.below(3)))
        rows = []
        for sku, location in shelves:
            shelf = self.model.shelves.get((sku, location), Shelf())
            held = (shelf.on_hand, shelf.damaged, shelf.quality_control)
            rows.append(UploadedRow(sku, location, max(0, shelf.on_hand + choices.one_of([-1, 2, -4, 1])), held))
        await self.ground.upload(upload_id, rows, now, whole=whole)
        self.model.uploads.append(Upload([row for row in rows if row.on_hand != row.held[0]], whole))
        self.story.append(f"a file of counts: {rows}, all or nothing: {whole}")

    async def many_at_once(self, choices: list[Choices]) -> None:
        """Batches and schedules on as many connections. Long queues, which are served in steps, are told everything one by one."""
        if self.long_queues:
            for each in choices:
                await self.something_happens(each)
            return
        tasks: list[Task] = []
        for each in choices:
            if each.rarely(6):
                tasks.append(each.one_of(AT_ANY_TIME))
            else:
                batch = self._batch(each.one_of(THEMES[self.theme]), each)
                tasks += [batch] * (1 + each.rarely(8)) if batch else []
        tasks = tasks[:CONNECTIONS]
        self.story.append("at once: " + "; ".join(task if isinstance(task, str) else _told(task) for task in tasks))
        self.ground.done["races"] += 1
        self.model.now = self.scene.now
        heard: dict[int, Heard] = {}
        again: list[int] = []

        async def work(index: int) -> None:
            try:
                heard[index] = await self.ground.do(tasks[index], self.scene.now, self.ground.connections[index])
            except asyncpg.UniqueViolationError:  # somebody else has just written it: the runtime tries again
                again.append(index)

        await asyncio.gather(*(work(index) for index in range(len(tasks))))
        for index in again:
            heard[index] = await self.ground.do(tasks[index], self.scene.now)
        await self.ground.do("find_neglected_queues", self.scene.now)
        await self._judge(tasks, heard)

    async def _judge(self, tasks: Sequence[Task], heard: Mapping[int, Heard]) -> None:
        """Finds the order in which the model says what the service did; first the order in which the transactions ended."""
        books = await self.ground.read()
        nearest: list[str] = []
        ended = list(heard)
        for order in [ended, *(list(order) for order in permutations(ended) if list(order) != ended)]:
            model = copy.deepcopy(self.model)
            wrong: list[str] = []
            came_back: dict[int, list[Unit]] = {}
            for index in order:
                task = tasks[index]
                if isinstance(task, str):
                    model.run(task)
                else:
                    wrong += agrees(heard[index], model.hear(task))
                    came_back[index] = list(model.came_back)
            wrong += differences(books, books_of(model))
            if not wrong:
                self.model = self.scene.model = model
                for index in order:
                    self.listeners.listen(heard[index], self.scene, came_back.get(index, ()))
                    self._keep_deferred(tasks[index], heard[index])
                await self.check()
                return
            nearest = min(nearest or wrong, wrong, key=len)
        await self.fail([f"in no order do {len(tasks)} batches end like this; nearest comes:", *nearest])

    async def _alone(self, batch: Batch) -> None:
        self.story.append(_told(batch))
        self.model.now = self.scene.now
        heard = await self.ground.do(batch, self.scene.now)
        wrong = agrees(heard, self.model.hear(batch))
        self.listeners.listen(heard, self.scene, self.model.came_back)
        self._keep_deferred(batch, heard)
        self.scene.lagging = self.long_queues
        if wrong:
            await self.fail(wrong)

    async def _scheduled(self, schedule: str) -> None:
        for heard in await self.ground.do_all(schedule, self.scene.now):
            self.listeners.listen(heard, self.scene)

    def _keep_deferred(self, task: Task, heard: Heard) -> None:
        for message in task if not isinstance(task, str) else ():
            if message.event_id in heard.deferred and message.event_id not in {held.event_id for held in self.scene.held}:
                self.scene.held.append(message)

    async def check(self) -> None:
        """The audit is clean, the books are the model's, and everybody knows what is so."""
        self.ground.done["looks"] += 1
        found = [" ".join(row) for row in await self.ground.violations()]
        books = await self.ground.read()
        if not (self.scene.lagging and books["work"]):
            found += differences(books, books_of(self.model)) or self.listeners.misled(books, self.model)
            self.scene.lagging = False
        if found:
            await self.fail(found)

    async def fail(self, found: Sequence[str]) -> None:
        """Ends the story."""
        raise AssertionError("\n".join([*found[:12], "", "what happened:", *self.story[-40:]]))


def _told(batch: Batch) -> str:
    """Messages in one line."""
    return f"{type(batch[0].data).type}: " + "; ".join(_words(message) for message in batch)


def _words(message: Received[Any]) -> str:
    told = message.data.model_dump(mode="json", exclude_defaults=True)
    dull = ("ship_to", "customer", "actor", "reason", "operator", "channel", "external_id", "currency", "refund_cents", "money_delta_cents")
    return json.dumps({name: value for name, value in told.items() if name not in dull})


class AllocationMachine(RuleBasedStateMachine):
    """A step draws one row of bytes and nothing else, so that what a race decided never changes what hypothesis draws next."""

    ground: ClassVar[Ground]
    ends_at_once: ClassVar[bool] = False
    only_about: ClassVar[str | None] = None

    @initialize(theme=sampled_from(list(THEMES)), long_queues=sampled_from([False, False, False, True]))
    def the_doors_open(self, theme: str, long_queues: bool) -> None:
        """A story about something begins."""
        self.ground.done["stories"] += 1
        self.play = Play(self.ground, self.only_about or theme, long_queues)
        self._wait_for(self.play.open())

    @rule(raw=binary(min_size=STEP_BYTES, max_size=STEP_BYTES))
    def step(self, raw: bytes) -> None:
        """What happens next: mostly a batch alone, often several at once; things come late, time passes, queues are served."""
        self.ground.done["steps"] += 1
        kind, several = raw[0] % 16, [Choices(raw[start : start + BYTES]) for start in range(1, STEP_BYTES, BYTES)]
        play, choices = self.play, several[0]
        if kind < 7:
            self._wait_for(play.something_happens(choices))
        elif kind < 9:
            self._wait_for(play.many_at_once(several[:2]))
        elif kind < 11:
            self._wait_for(play.many_at_once(several))
        elif kind < 13:
            self._wait_for(play.held_messages_arrive(choices))
        elif kind == 13:
            self._wait_for(play.a_file_of_counts_is_uploaded(choices))
        elif kind == 14:
            self._wait_for(play.queues_are_served())
        else:
            self._wait_for(play.time_passes(choices))

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            self.ground.run(work)
        except Exception as error:
            if self.ends_at_once:
                raise Caught(str(error)) from error
            raise


class Caught(BaseException):
    """The service and the model disagree, and that is all anybody wanted to know: hypothesis looks no further."""


def play(
    ground: Ground,
    *,
    examples: int,
    steps: int,
    random_seed: int,
    shrink: bool = False,
    ends_at_once: bool = False,
    only_about: str | None = None,
) -> None:
    """Plays some stories of so many steps, about everything or about one theme; the same seed plays the same ones.

    Raises:
        AssertionError: the service and the model disagree.
        Caught: the same, at once, if that is wanted.
    """
    machine = type("AllocationMachine", (AllocationMachine,), {"ground": ground, "ends_at_once": ends_at_once, "only_about": only_about})
    run_state_machine_as_test(
        seed(random_seed)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            deadline=None,
            database=None,
            print_blob=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
