from prefine.emulator.randomness import stream


def test_streams_are_told_apart_by_purpose_device_and_seed() -> None:
    streams = [stream(0, "a"), stream(0, "b"), stream(1, "a"), stream(0, "a", 0), stream(0, "a", 1)]
    assert len({one.random() for one in streams}) == len(streams)
