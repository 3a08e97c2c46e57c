"""What a real PowerShell and a real Windows said, our client says too."""

import pytest

pytest.register_assert_rewrite("tests.fidelity.compared", "tests.fidelity.engines", "tests.fidelity.exchanges")
