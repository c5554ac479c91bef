import json
import os
import urllib.parse
import urllib.request

from influxdb_client import InfluxDBClient, Point, WriteOptions, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

url = f"http://localhost:{os.environ['INFLUX']}"


def values(statement):
    parameters = urllib.parse.urlencode({"db": "lib", "epoch": "s", "q": statement})
    answer = json.load(urllib.request.urlopen(f"{url}/query?{parameters}"))
    return answer["results"][0]["series"][0]["values"]


for packs in [False, True]:
    with InfluxDBClient(url=url, token="token", org="org", enable_gzip=packs) as client:
        assert client.ping() is True
        assert client.health().status == "pass", client.health()
        assert client.version().startswith("1.8"), client.version()

        write = client.write_api(write_options=SYNCHRONOUS)
        point = Point("mem").tag("host", "a b").field("free", 5).field("used", 0.5).field("note", 'x "y"')
        write.write(bucket="lib", record=point.time(1700000000, WritePrecision.S), write_precision=WritePrecision.S)
        write.write(bucket="lib/autogen", record=["mem,host=b free=6i 1700000001"], write_precision=WritePrecision.S)
        record = {"measurement": "mem", "tags": {"host": "c"}, "fields": {"up": True}, "time": 1700000002}
        write.write(bucket="lib", org="other", record=record, write_precision=WritePrecision.S)
        rows = values("SELECT host, free, used, note, up FROM mem")
        assert rows == [
            [1700000000, "a b", 5, 0.5, 'x "y"', None],
            [1700000001, "b", 6, None, None, None],
            [1700000002, "c", None, None, None, True],
        ], rows
        try:
            write.write(bucket="lib", record="mem,host=b free=6.5 1700000001000000000")
        except ApiException as error:
            assert error.status == 400 and "field type conflict" in error.body, error
        else:
            raise AssertionError("it was written")

        failed = []
        options = WriteOptions(batch_size=100, flush_interval=10_000, jitter_interval=0, retry_interval=1_000)
        with client.write_api(
            write_options=options, error_callback=lambda conf, data, error: failed.append(str(error))
        ) as batching:
            for number in range(1_050):
                point = Point("batch").tag("packs", packs).field("n", number).time(number, WritePrecision.S)
                batching.write(bucket="lib", record=point)
        assert failed == [], failed
        rows = values(f"SELECT count(n), sum(n) FROM batch WHERE packs = '{packs}'")
        assert rows == [[0, 1_050, 550_725]], rows
