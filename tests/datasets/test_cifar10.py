from .conftest import CASES, assert_real_file_is_whole


def test_the_real_file_holds_the_whole_data_set():
    assert_real_file_is_whole(CASES["cifar10"], [5000] * 10, [1000] * 10)
