"""How faiss searches few queries among many vectors: by matrix products, and not one by one.

faiss takes products where a call has many numbers, queries times their size: from 128,000 on since
its version 1.15, which was chosen on machines of many threads. With one thread products are three
to four times as fast from some ten queries of 64 numbers on, and they are what the passes of a
training and small candidate sets have. Both ways are exact; they round alike to 1e-7.
"""

from typing import Any

LEAST_PRODUCT = 800
"""Numbers of a call's queries, for each thread, from which on products are faster: where the
authors of faiss found them to be (https://github.com/facebookresearch/faiss/pull/5109)."""
_BY_QUERIES = 20
"""The limit of older versions, which is a number of queries and stays."""


def search_by_products(faiss: Any, threads: int) -> None:
    """Say to faiss how many threads it has, and from which size on it searches by products.

    Both are settings of the process: whoever searches makes them before.

    Args:
        faiss: The library.
        threads: Threads of a search.
    """
    faiss.omp_set_num_threads(threads)
    if faiss.cvar.distance_compute_blas_threshold > _BY_QUERIES:
        faiss.cvar.distance_compute_blas_threshold = LEAST_PRODUCT * threads
