"""The same as `pyflink_by_hand.py`, as a stream of this package."""

import os

from cdc_stream import source_options, stream_environment, target_options

COLUMNS = """
    id BIGINT, product STRING, quantity INT, note STRING, price DECIMAL(10, 2),
    changed_at TIMESTAMP(6), PRIMARY KEY (id) NOT ENFORCED
"""

t_env = stream_environment()
t_env.execute_sql(f"CREATE TABLE a ({COLUMNS}) WITH ({source_options('source.orders')})")
t_env.execute_sql(f"CREATE TABLE b ({COLUMNS}) WITH ({target_options(os.environ['WAYS_TARGET'])})")
t_env.execute_sql("INSERT INTO b SELECT * FROM a")
