import os

from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError

client = InfluxDBClient("localhost", int(os.environ["INFLUX"]), "root", "root", "lib")
assert client.ping().startswith("1.8"), client.ping()
client.create_database("lib")
client.create_database("lib")
assert client.get_list_database() == [{"name": "lib"}], client.get_list_database()

points = [
    {
        "measurement": "cpu",
        "tags": {"host": "a b", "region": "eu,1"},
        "time": 1700000000 + second,
        "fields": {"load": 0.5 + second, "cores": 4, "up": True, "note": 'x "y" \\z'},
    }
    for second in range(3)
]
assert client.write_points(points, time_precision="s", tags={"dc": "x"}, batch_size=2)
assert client.write_points(
    [{"measurement": "cpu", "tags": {"host": "c"}, "time": 1700000000000000001, "fields": {"load": 9.0}}],
    time_precision="n",
)
rows = list(client.query("SELECT * FROM cpu WHERE host = 'a b'", epoch="s").get_points("cpu"))
assert len(rows) == 3, rows
assert rows[1] == {
    "time": 1700000001, "cores": 4, "dc": "x", "host": "a b", "load": 1.5,
    "note": 'x "y" \\z', "region": "eu,1", "up": True,
}, rows[1]
rows = list(client.query("SELECT load FROM cpu WHERE host = $host", bind_params={"host": "c"}).get_points())
assert rows == [{"time": "2023-11-14T22:13:20.000000001Z", "load": 9.0}], rows
grouped = client.query("SELECT mean(load) FROM cpu GROUP BY host", epoch="ms")
assert list(grouped.get_points(tags={"host": "a b"})) == [{"time": 0, "mean": 1.5}], grouped.raw
both = client.query("SELECT count(load) FROM cpu; SELECT max(load) FROM cpu")
assert [next(result.get_points()) for result in both][0]["count"] == 4, both
chunks = client.query("SELECT load FROM cpu", chunked=True, chunk_size=1, epoch="ns")
chunks = [list(chunk.get_points()) for chunk in chunks]
assert [len(chunk) for chunk in chunks] == [1, 1, 1, 1], chunks

assert client.get_list_measurements() == [{"name": "cpu"}], client.get_list_measurements()
series = client.get_list_series("lib")
assert series == ["cpu,dc=x,host=a\\ b,region=eu\\,1", "cpu,host=c"], series

client.create_retention_policy("weeks", "2w", "1", database="lib")
client.alter_retention_policy("weeks", database="lib", duration="3w")
policies = {policy["name"]: policy for policy in client.get_list_retention_policies("lib")}
assert policies["weeks"]["duration"] == "504h0m0s" and not policies["weeks"]["default"], policies
assert policies["autogen"]["default"], policies
client.create_retention_policy("forever", "INF", "1", database="lib", default=True)
client.write_points(points[:1], time_precision="s", retention_policy="autogen")
client.write(["mem,host=a free=5i 1700000000"], {"db": "lib", "rp": "forever", "precision": "s"}, 204, "line")
assert list(client.query('SELECT free FROM "forever"."mem"', epoch="s").get_points()) == [{"time": 1700000000, "free": 5}]
client.drop_retention_policy("forever", "lib")
assert len(client.get_list_retention_policies("lib")) == 2

for bad, code in [("cpu load=", 400), ("cpu,host=c load=1i 1", 400)]:
    try:
        client.write([bad], {"db": "lib", "rp": "autogen"}, 204, "line")
    except InfluxDBClientError as error:
        assert error.code == code, error
    else:
        raise AssertionError(bad)
try:
    client.query("SELECT")
except InfluxDBClientError as error:
    assert error.code == 400 and "error parsing query" in str(error), error
else:
    raise AssertionError("it was parsed")

packed = InfluxDBClient("localhost", int(os.environ["INFLUX"]), database="lib", gzip=True)
packed.write_points(points, time_precision="s", retention_policy="autogen", protocol="json")
packed.write_points(["disk used=1 1"], protocol="line", retention_policy="autogen")
client.delete_series("lib", "cpu", {"host": "c"})
client.drop_measurement("disk")
client.drop_database("lib")
assert client.get_list_database() == [], client.get_list_database()
