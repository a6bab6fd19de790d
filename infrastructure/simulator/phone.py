"""Simulates what a phone sends and when: missing fixes, times offline, late batches and repeated requests. Pure."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

from infrastructure.simulator.actions import Action, RiderTruth, SentCommand, SimulatedFix, Upload, UploadKind
from infrastructure.simulator.gps_noise import GpsNoise
from infrastructure.simulator.scenario import SOURCE, Scenario


class Spells:
    """Random periods of a condition, with a rate per hour and a range of durations. Query them in order of time."""

    def __init__(self, per_hour: float, lasts_s: tuple[float, float], chance: Random) -> None:
        self._per_second = per_hour / 3600.0
        self._lasts_s = lasts_s
        self._chance = chance
        self._begins_s, self._ends_s = self._next(0.0)

    def at(self, now_s: float) -> bool:
        """Whether the condition holds at ``now_s``."""
        while now_s >= self._ends_s:
            self._begins_s, self._ends_s = self._next(self._ends_s)
        return now_s >= self._begins_s

    def _next(self, after_s: float) -> tuple[float, float]:
        if self._per_second <= 0.0:
            return float("inf"), float("inf")
        begins_s = after_s + self._chance.expovariate(self._per_second)
        return begins_s, begins_s + self._chance.uniform(*self._lasts_s)


COMMAND_GAP_S = 0.001
"""Commands of one phone are sent at least this far apart, so that the order of their presses is kept."""


class RiderPhone:
    """One rider's phone. Call its methods in order of time."""

    def __init__(self, rider_id: str, scenario: Scenario) -> None:
        self.rider_id = rider_id
        self._scenario = scenario
        self._model = scenario.phone
        self._fixes, gps, self._event_ids, self._behaviour = (
            Random(f"{scenario.seed}/{rider_id}/{part}")
            for part in ("fixes", "gps", f"ids/{scenario.start_ms}", "phone")
        )
        self._noise = GpsNoise(scenario.noise, gps)
        self._no_fix = Spells(self._model.no_fix_per_hour, self._model.no_fix_s, self._fixes)
        self._offline = Spells(self._model.offline_per_hour, self._model.offline_s, self._behaviour)
        self._held: list[SimulatedFix] = []
        self._held_commands: list[SentCommand] = []
        self._sent_command_s = 0.0
        self._previous_fix_s = 0.0
        self._due_s = self._fixes.uniform(0.0, self._model.every_s)

    def next_fix_s(self, not_before_s: float = 0.0) -> float:
        """The second of the next attempted fix, in whole milliseconds, as in the ping."""
        self._due_s = max(self._due_s, not_before_s)
        return round(self._due_s + self._fixes.uniform(0.0, self._model.every_s * self._model.jitter_share), 3)

    def fix(self, at_s: float, truth: RiderTruth) -> list[Action]:
        """Attempt a fix at ``at_s``; the requests that the phone sends because of it."""
        error = self._noise.after(at_s - self._previous_fix_s)
        self._previous_fix_s, self._due_s = at_s, max(self._due_s + self._model.every_s, at_s + 0.001)
        speed = self._device_speed(truth)
        if not self._no_fix.at(at_s):
            latitude, longitude = self._scenario.city.degrees_of(
                truth.at[0] + error.east_m, truth.at[1] + error.north_m
            )
            ping: dict[str, Any] = {
                "rider_id": self.rider_id,
                "latitude": round(latitude, 7),
                "longitude": round(longitude, 7),
                "event_timestamp_ms": self._scenario.ms(at_s),
                "accuracy_meters": round(error.accuracy_m, 2),
                "event_id": str(UUID(int=self._event_ids.getrandbits(128), version=4)),
                "source_service": SOURCE,
            }
            if speed is not None:
                ping["speed_mps"] = speed
            self._held.append(SimulatedFix(ping, truth))
        return [] if self._offline.at(at_s) else self._release(at_s)

    def is_online(self, now_s: float) -> bool:
        """Whether the phone can be reached, and holds nothing that it has not sent."""
        return not self._offline.at(now_s) and not self._held_commands

    def press(self, command: SentCommand) -> list[Action]:
        """Send a command, or hold it while the phone is offline. ``command.send_at_s`` is when it is pressed."""
        if not self.is_online(command.send_at_s):
            self._held_commands.append(command)
            return []
        return self._sent(command, command.send_at_s, UploadKind.LIVE)

    def close(self, now_s: float) -> list[Action]:
        """Send what the phone still holds, offline or not, so that every fix and command is sent."""
        return self._release(now_s)

    def _release(self, now_s: float) -> list[Action]:
        sent: list[Action] = []
        if self._held:
            at_s, fixes = now_s + self._behaviour.uniform(*self._model.upload_s), tuple(self._held)
            self._held.clear()
            sent.append(Upload(at_s, self.rider_id, UploadKind.LIVE if len(fixes) == 1 else UploadKind.LATE, fixes))
            if self._behaviour.random() < self._model.repeat_share:
                again_s = at_s + self._behaviour.uniform(*self._model.repeat_after_s)
                sent.append(Upload(again_s, self.rider_id, UploadKind.REPEAT, fixes))
        held, self._held_commands = self._held_commands, []
        for command in held:
            sent.extend(self._sent(command, now_s, UploadKind.LATE))
        return sent

    def _sent(self, command: SentCommand, now_s: float, kind: UploadKind) -> list[Action]:
        at_s = max(now_s + self._behaviour.uniform(*self._model.upload_s), self._sent_command_s + COMMAND_GAP_S)
        self._sent_command_s = at_s
        first = command._replace(send_at_s=at_s, kind=kind)
        if self._behaviour.random() >= self._model.repeat_share:
            return [first]
        again_s = at_s + self._behaviour.uniform(*self._model.repeat_after_s)
        return [first, command._replace(send_at_s=again_s, kind=UploadKind.REPEAT)]

    def _device_speed(self, truth: RiderTruth) -> float | None:
        sigma = self._scenario.noise.speed_sigma_mps if truth.speed_mps else 0.0
        speed = max(0.0, self._fixes.gauss(truth.speed_mps, sigma))
        return None if self._fixes.random() < self._model.no_speed_share else round(speed, 2)
