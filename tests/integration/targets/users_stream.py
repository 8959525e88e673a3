"""The seed's example as a stream: `users` row by row, and a table that a Python function fills."""

from cdc_stream import source_options, stream_environment, target_options
from pyflink.table import DataTypes
from pyflink.table.udf import udf

t_env = stream_environment()

t_env.execute_sql(f"""
    CREATE TABLE source_users (
        id INT,
        name STRING,
        email STRING,
        PRIMARY KEY (id) NOT ENFORCED
    ) WITH ({source_options("source.users")})
""")

t_env.execute_sql(f"""
    CREATE TABLE target_users (
        id INT,
        name STRING,
        email STRING,
        PRIMARY KEY (id) NOT ENFORCED
    ) WITH ({target_options("users")})
""")

t_env.execute_sql(f"""
    CREATE TABLE target_domains (
        id INT,
        domain STRING,
        PRIMARY KEY (id) NOT ENFORCED
    ) WITH ({target_options("domains")})
""")


@udf(result_type=DataTypes.STRING())
def domain_of(email: str) -> str:
    """Return what follows the last sign `@`, upside down."""
    return email.rpartition("@")[2][::-1]


t_env.create_temporary_function("domain_of", domain_of)

job = t_env.create_statement_set()
job.add_insert_sql("INSERT INTO target_users SELECT * FROM source_users")
job.add_insert_sql("INSERT INTO target_domains SELECT id, domain_of(email) FROM source_users")
job.execute()
