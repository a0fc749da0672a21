from .conftest import CASES, assert_real_file_is_whole


def test_the_real_file_holds_the_whole_data_set():
    assert_real_file_is_whole(
        CASES["mnist"],
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    )
