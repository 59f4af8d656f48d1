"""Claims to accelerators for Hypothesis: few enough pools that they compete, and as many as are still read."""

from hypothesis import strategies as st
from sharing_claims import claim

from tierline.fleet.scaling.claims import Claim


@st.composite
def claims(draw: st.DrawFn, **also: st.SearchStrategy[object]) -> list[Claim]:
    """Up to six claims in two namespaces; `also` are strategies of further fields."""
    made = []
    for index in range(draw(st.integers(1, 6))):
        low = draw(st.integers(0, 3))
        wanted = draw(st.integers(low, 10))
        said = {name: draw(strategy) for name, strategy in also.items()}
        made.append(
            claim(
                f"p{index}",
                namespace=draw(st.sampled_from(["a", "b"])),
                priority=draw(st.sampled_from([10, 50, 100])),
                may_give=draw(st.booleans()),
                low=low,
                wanted=wanted,
                held=draw(st.integers(0, wanted)),
                **said,
            )
        )
    return made
