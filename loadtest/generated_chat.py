"""A generated chat: what a lecture's chat might look like, in several languages, the same for the same seed."""

import random
from collections.abc import Sequence

from loadtest.core.replay_plan import ChatLine

_TOPICS = (
    "induction",
    "the proof",
    "eigenvalues",
    "고유값",
    "수학적 귀납법",
    "recursion",
    "der Beweis",
    "固有値",
    "гипотеза",
)
_EMOJI = ("👍", "🙏", "😂", "🤯", "👩‍🎓", "🇰🇷", "❤️", "🧮")
_ANSWERS = (
    "yes",
    "no",
    "네",
    "아니요",
    "{n}",
    "I think it's {n}",
    "{n}번이요",
    "O(n log n)?",
    "はい",
    "так",
    "ja, {n}",
    "ㅋㅋㅋ",
    "B",
    "C",
    "정답은 {n}인 것 같아요",
    "same",
    "wait what",
    "{n}! = factorial or surprise?",
    "not sure 😅",
    "저도요",
)
_REMARKS = (
    "could you repeat the part about {topic}?",
    "소리가 잘 안 들려요",
    "the slides are on page {n}, right?",
    "{topic} 다시 설명해 주실 수 있나요?",
    "audio is fine for me",
    "why does {topic} work if n = {n}?",
    "스라이드 {n}쪽 오타 있는 것 같아요",
    "is {topic} part of the exam?",
    "質問があります: {topic}",
    "kann man {topic} auch anders zeigen?",
    "see exercise {n}: there it is the other way round",
    "시험 범위에 {topic} 들어가나요?",
    "thanks, that helped a lot",
    "감사합니다!",
    "a < b && b > c, so <b>not</b> what the book says on p. {n}",
    "someone share the link to the notes pls",
    "I lost the connection for a moment, what did I miss?",
    "방금 끊겼다가 다시 들어왔어요",
    "could we have a break after {topic}?",
    '"{topic}" — c\'est bien ça ?',
    "For the record: the book's chapter {n} does {topic} with a different sign convention, which is why the results "
    "differ by a factor of minus one; both are fine as long as you stay with one of them.",
)


def generated_chat(*, users: int = 60, minutes: int = 90, lines: int = 700, seed: int = 1) -> tuple[ChatLine, ...]:
    """A made-up lecture's chat in several languages: few say much, most say little, and much is said at once.

    The same for the same arguments.
    """
    chance = random.Random(seed)
    people = [f"s{number:03}" for number in range(1, users + 1)]
    talkative = [1 / (place + 1) for place in range(users)]
    # Bursts: after a question from the lecturer everybody answers within a minute.
    bursts = [chance.uniform(0, minutes) for _ in range(max(1, minutes // 8))]
    said: list[ChatLine] = []
    while len(said) < lines:
        burst = chance.random() < 0.4
        minute = chance.choice(bursts) + chance.expovariate(1.5) if burst else chance.uniform(0, minutes)
        user = chance.choices(people, weights=talkative)[0]
        said.append(
            ChatLine(min(minute, float(minutes)), user, made_up_answer(chance) if burst else made_up_remark(chance))
        )
    return tuple(sorted(said, key=lambda line: line.minute))


def made_up_answer(chance: random.Random) -> str:
    """What somebody says when everybody was asked."""
    return _made_up(chance, _ANSWERS)


def made_up_remark(chance: random.Random) -> str:
    """What somebody says unasked."""
    return _made_up(chance, _REMARKS)


def _made_up(chance: random.Random, texts: Sequence[str]) -> str:
    text = chance.choice(texts).format(n=chance.randint(2, 40), topic=chance.choice(_TOPICS))
    tail = chance.random()
    return f"{text} {chance.choice(_EMOJI)}" if tail < 0.15 else f"{text} {text}" if tail > 0.98 else text
