import hashlib
import io
import os
import ssl
import urllib.request
from datetime import datetime, timedelta, timezone

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError

# Over TLS checksums stand behind the bytes, and otherwise before them.
ENDPOINT = f"{os.environ.get('SCHEME', 'http')}://localhost:{os.environ['BLOB']}"
ssl._create_default_https_context = ssl._create_unverified_context


def client(secret="secret", access="olivine", **more):
    return boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        verify=False,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=Config(retries={"max_attempts": 1}, **more),
    )


s3 = client()


def refused(code, status, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        told = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert told == (code, status), (told, error)
    else:
        raise AssertionError(f"{code} was not told")


def md5(data):
    return hashlib.md5(data).hexdigest()


# Who signs with nothing that is known is told nothing.
refused("SignatureDoesNotMatch", 403, client(secret="other").list_buckets)
refused("InvalidAccessKeyId", 403, client(access="nobody").list_buckets)
try:
    urllib.request.urlopen(f"{ENDPOINT}/")
except urllib.error.HTTPError as error:
    assert error.code == 403 and b"<Code>AccessDenied</Code>" in error.read()
else:
    raise AssertionError("it was not signed")

# Buckets.
assert s3.list_buckets()["Buckets"] == []
s3.create_bucket(Bucket="photos")
refused("BucketAlreadyOwnedByYou", 409, s3.create_bucket, Bucket="photos")
refused("InvalidBucketName", 400, client(parameter_validation=False).create_bucket, Bucket="NO")
client(signature_version="s3v4").create_bucket(
    Bucket="others", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
)
assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["others", "photos"]
assert s3.head_bucket(Bucket="photos")["ResponseMetadata"]["HTTPStatusCode"] == 200
refused("404", 404, s3.head_bucket, Bucket="nothing")
assert s3.get_bucket_location(Bucket="photos")["LocationConstraint"] is None
assert "Status" not in s3.get_bucket_versioning(Bucket="photos")

# Put, get, head, and what is said of an object.
begun = datetime.now(timezone.utc) - timedelta(seconds=2)
put = s3.put_object(
    Bucket="photos",
    Key="a/ü &+%41.txt",
    Body=b"bigswag",
    ContentType="text/plain; charset=utf-8",
    CacheControl="max-age=60",
    ContentDisposition='attachment; filename="a.txt"',
    ContentEncoding="identity",
    ContentLanguage="de",
    Expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    Metadata={"camera": "old one", "lens": "50mm"},
)
assert put["ETag"] == f'"{md5(b"bigswag")}"', put
got = s3.get_object(Bucket="photos", Key="a/ü &+%41.txt")
assert got["Body"].read() == b"bigswag"
head = s3.head_object(Bucket="photos", Key="a/ü &+%41.txt")
for told in [got, head]:
    assert told["ContentLength"] == 7 and told["ETag"] == put["ETag"], told
    assert told["ContentType"] == "text/plain; charset=utf-8", told
    assert told["CacheControl"] == "max-age=60" and told["ContentLanguage"] == "de", told
    assert told["ContentDisposition"] == 'attachment; filename="a.txt"', told
    assert told["ContentEncoding"] == "identity", told
    assert told["Metadata"] == {"camera": "old one", "lens": "50mm"}, told
    assert told["ResponseMetadata"]["HTTPHeaders"]["expires"] == "Wed, 02 Jan 2030 03:04:05 GMT", told
    assert begun <= told["LastModified"] <= datetime.now(timezone.utc), told
    assert told["ResponseMetadata"]["HTTPHeaders"]["x-content-type-options"] == "nosniff", told
overridden = s3.get_object(Bucket="photos", Key="a/ü &+%41.txt", ResponseContentType="text/css")
assert overridden["ContentType"] == "text/css"
refused("NoSuchKey", 404, s3.get_object, Bucket="photos", Key="a")
refused("404", 404, s3.head_object, Bucket="photos", Key="a")
refused("NoSuchBucket", 404, s3.get_object, Bucket="nothing", Key="a")
refused("NoSuchBucket", 404, s3.put_object, Bucket="nothing", Key="a", Body=b"a")
refused("KeyTooLongError", 400, s3.put_object, Bucket="photos", Key="k" * 1025, Body=b"a")
refused("MetadataTooLarge", 400, s3.put_object, Bucket="photos", Key="m", Body=b"a", Metadata={"a": "b" * 2500})
refused("NotImplemented", 501, s3.put_object, Bucket="photos", Key="m", Body=b"a", ServerSideEncryption="AES256")
refused("NotImplemented", 501, s3.put_object, Bucket="photos", Key="m", Body=b"a", ACL="public-read")

# An object may be empty, and may be put over.
s3.put_object(Bucket="photos", Key="empty/", Body=b"")
empty = s3.get_object(Bucket="photos", Key="empty/")
assert empty["Body"].read() == b"" and empty["ETag"] == f'"{md5(b"")}"'
s3.put_object(Bucket="photos", Key="empty/", Body=b"no more")
assert s3.get_object(Bucket="photos", Key="empty/")["Body"].read() == b"no more"
s3.delete_object(Bucket="photos", Key="empty/")

# Bytes must be those that were meant.
large = bytes(range(256)) * 12_000
for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]:
    try:
        put = s3.put_object(Bucket="photos", Key="large", Body=large, ChecksumAlgorithm=algorithm)
    except Exception as error:
        # Some need a library of their own.
        assert "[crt]" in str(error), error
        continue
    assert put["ETag"] == f'"{md5(large)}"', put
refused("BadDigest", 400, s3.put_object, Bucket="photos", Key="bad", Body=b"abc", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
refused("BadDigest", 400, s3.put_object, Bucket="photos", Key="bad", Body=b"abc", ChecksumCRC32="AAAAAA==")
refused("404", 404, s3.head_object, Bucket="photos", Key="bad")
unsigned = client(request_checksum_calculation="when_required", s3={"payload_signing_enabled": True})
assert unsigned.put_object(Bucket="photos", Key="large", Body=large)["ETag"] == f'"{md5(large)}"'

# Ranges.
for wanted, expected in [
    ("bytes=0-0", large[:1]),
    ("bytes=65530-65545", large[65530:65546]),
    ("bytes=3000000-", large[3_000_000:]),
    ("bytes=-10", large[-10:]),
    ("bytes=10-99999999", large[10:]),
]:
    part = s3.get_object(Bucket="photos", Key="large", Range=wanted)
    assert part["Body"].read() == expected, wanted
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206 and part["ContentRange"].endswith(f"/{len(large)}")
refused("InvalidRange", 416, s3.get_object, Bucket="photos", Key="large", Range="bytes=99999999-")

# Conditions.
tag = put["ETag"]
now = datetime.now(timezone.utc)
for call in [s3.get_object, s3.head_object]:
    where = {"Bucket": "photos", "Key": "large"}
    assert call(**where, IfMatch=tag)["ETag"] == tag
    assert call(**where, IfNoneMatch='"other"')["ETag"] == tag
    assert call(**where, IfModifiedSince=now - timedelta(days=1))["ETag"] == tag
    assert call(**where, IfUnmodifiedSince=now + timedelta(days=1))["ETag"] == tag
    refused("304", 304, call, **where, IfNoneMatch=tag)
    refused("304", 304, call, **where, IfModifiedSince=now + timedelta(days=1))
    failed = "PreconditionFailed" if call == s3.get_object else "412"
    refused(failed, 412, call, **where, IfMatch='"other"')
    refused(failed, 412, call, **where, IfUnmodifiedSince=now - timedelta(days=1))
s3.put_object(Bucket="photos", Key="once", Body=b"1", IfNoneMatch="*")
refused("PreconditionFailed", 412, s3.put_object, Bucket="photos", Key="once", Body=b"2", IfNoneMatch="*")
refused("PreconditionFailed", 412, s3.put_object, Bucket="photos", Key="once", Body=b"2", IfMatch='"other"')
refused("NoSuchKey", 404, s3.put_object, Bucket="photos", Key="never", Body=b"2", IfMatch='"other"')
s3.put_object(Bucket="photos", Key="once", Body=b"2", IfMatch=f'"{md5(b"1")}"')
assert s3.get_object(Bucket="photos", Key="once")["Body"].read() == b"2"
refused("PreconditionFailed", 412, s3.delete_object, Bucket="photos", Key="once", IfMatch='"other"')
s3.delete_object(Bucket="photos", Key="once", IfMatch=f'"{md5(b"2")}"')
s3.delete_object(Bucket="photos", Key="once")
refused("NoSuchKey", 404, s3.get_object, Bucket="photos", Key="once")

# Copies.
copied = s3.copy_object(Bucket="others", Key="copy", CopySource={"Bucket": "photos", "Key": "a/ü &+%41.txt"})
assert copied["CopyObjectResult"]["ETag"] == f'"{md5(b"bigswag")}"'
copy = s3.get_object(Bucket="others", Key="copy")
assert copy["Body"].read() == b"bigswag" and copy["Metadata"]["camera"] == "old one"
assert copy["ContentType"] == "text/plain; charset=utf-8"
refused("InvalidRequest", 400, s3.copy_object, Bucket="others", Key="copy", CopySource="others/copy")
s3.copy_object(
    Bucket="others", Key="copy", CopySource="others/copy",
    MetadataDirective="REPLACE", Metadata={"new": "one"}, ContentType="image/png",
)
copy = s3.get_object(Bucket="others", Key="copy")
assert (copy["Body"].read(), copy["Metadata"], copy["ContentType"]) == (b"bigswag", {"new": "one"}, "image/png")
refused("NoSuchKey", 404, s3.copy_object, Bucket="others", Key="c", CopySource="photos/nothing")
refused("PreconditionFailed", 412, s3.copy_object, Bucket="others", Key="c", CopySource="photos/large", CopySourceIfMatch='"x"')

# Lists.
names = [f"{year}/{month:02}/{day}.jpg" for year in (2024, 2025) for month in range(1, 13) for day in range(3)]
names += ["2024", "2024.txt", "zoo/ a+b&c<d>", "zoo/\u00e4"]
s3.create_bucket(Bucket="lists")
for name in names:
    s3.put_object(Bucket="lists", Key=name, Body=name.encode())
names.sort(key=lambda name: name.encode())


def listed(operation, **arguments):
    keys, groups = [], []
    for page in s3.get_paginator(operation).paginate(Bucket="lists", **arguments):
        keys += [entry["Key"] for entry in page.get("Contents", [])]
        groups += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
    return keys, groups


for operation in ["list_objects", "list_objects_v2"]:
    for size in [1, 7, 1000]:
        pages = {"PaginationConfig": {"PageSize": size}}
        assert listed(operation, **pages) == (names, []), (operation, size)
        top = (["2024", "2024.txt"], ["2024/", "2025/", "zoo/"])
        assert listed(operation, Delimiter="/", **pages) == top, (operation, size)
        months = ([], [f"2025/{month:02}/" for month in range(1, 13)])
        assert listed(operation, Delimiter="/", Prefix="2025/", **pages) == months, (operation, size)
        days = ([name for name in names if name.startswith("2024/1")], [])
        assert listed(operation, Prefix="2024/1", **pages) == days, (operation, size)
    assert listed(operation, Prefix="nothing") == ([], [])
page = s3.list_objects_v2(Bucket="lists", MaxKeys=5, StartAfter="2024/02/1.jpg")
assert [entry["Key"] for entry in page["Contents"]] == names[names.index("2024/02/1.jpg") + 1 :][:5]
assert page["KeyCount"] == 5 and page["IsTruncated"], page
entry = s3.list_objects_v2(Bucket="lists", Prefix="2024.txt")["Contents"][0]
assert (entry["Size"], entry["ETag"]) == (8, f'"{md5(b"2024.txt")}"'), entry
assert entry["StorageClass"] == "STANDARD" and begun <= entry["LastModified"], entry
refused("NoSuchBucket", 404, s3.list_objects_v2, Bucket="nothing")
refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket="lists")

# Many at once.
deleted = s3.delete_objects(Bucket="lists", Delete={"Objects": [{"Key": name} for name in names[:-1]] + [{"Key": "no"}]})
assert len(deleted["Deleted"]) == len(names) and "Errors" not in deleted, deleted
assert listed("list_objects_v2") == (names[-1:], [])
assert "Deleted" not in s3.delete_objects(Bucket="lists", Delete={"Objects": [{"Key": names[-1]}], "Quiet": True})
s3.delete_bucket(Bucket="lists")
refused("NoSuchBucket", 404, s3.delete_bucket, Bucket="lists")

# Parts, as the library cuts them.
config = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=4)
movie = os.urandom(1 << 20) * 40 + b"the end"
s3.upload_fileobj(io.BytesIO(movie), "photos", "movie", Config=config, ExtraArgs={"Metadata": {"length": "long"}, "ContentType": "video/mp4"})
head = s3.head_object(Bucket="photos", Key="movie")
parts = [movie[start : start + (8 << 20)] for start in range(0, len(movie), 8 << 20)]
tag = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
assert head["ETag"] == f'"{tag}-{len(parts)}"' and head["ContentLength"] == len(movie), head
assert head["Metadata"] == {"length": "long"} and head["ContentType"] == "video/mp4", head
back = io.BytesIO()
s3.download_fileobj("photos", "movie", back, Config=config)
assert back.getvalue() == movie
assert s3.get_object(Bucket="photos", Key="movie")["Body"].read() == movie
at = 8 << 20
part = s3.get_object(Bucket="photos", Key="movie", Range=f"bytes={at - 3}-{at + 2}")
assert part["Body"].read() == movie[at - 3 : at + 3]
part = s3.get_object(Bucket="photos", Key="movie", PartNumber=6)
assert part["Body"].read() == parts[5] and part["PartsCount"] == 6, part
entry = s3.list_objects_v2(Bucket="photos", Prefix="movie")["Contents"][0]
assert (entry["Size"], entry["ETag"]) == (len(movie), head["ETag"]), entry
s3.copy({"Bucket": "photos", "Key": "movie"}, "others", "movie", Config=config)
copy = s3.get_object(Bucket="others", Key="movie")
assert copy["Body"].read() == movie and copy["ETag"] == head["ETag"]
s3.copy_object(Bucket="others", Key="whole", CopySource="photos/movie")
assert s3.head_object(Bucket="others", Key="whole")["ETag"] == f'"{md5(movie)}"'
s3.put_object(Bucket="others", Key="movie", Body=b"short")
assert s3.get_object(Bucket="others", Key="movie")["Body"].read() == b"short"

# Parts, one by one.
upload = s3.create_multipart_upload(Bucket="photos", Key="slow", Metadata={"a": "b"})["UploadId"]
second = s3.create_multipart_upload(Bucket="photos", Key="slower")["UploadId"]
found = s3.list_multipart_uploads(Bucket="photos")["Uploads"]
assert [(one["Key"], one["UploadId"]) for one in found] == [("slow", upload), ("slower", second)], found
page = s3.list_multipart_uploads(Bucket="photos", MaxUploads=1)
assert page["IsTruncated"] and page["NextKeyMarker"] == "slow", page
page = s3.list_multipart_uploads(Bucket="photos", KeyMarker="slow", UploadIdMarker=upload)
assert [one["UploadId"] for one in page["Uploads"]] == [second], page
where = {"Bucket": "photos", "Key": "slow", "UploadId": upload}
first = b"a" * (5 << 20)
s3.upload_part(**where, PartNumber=1, Body=b"what is put over")
tags = [s3.upload_part(**where, PartNumber=1, Body=first)["ETag"]]
s3.upload_part(**where, PartNumber=2, Body=b"not wanted")
copied = s3.upload_part_copy(**where, PartNumber=3, CopySource="photos/movie", CopySourceRange="bytes=5-9")
tags.append(copied["CopyPartResult"]["ETag"])
told = s3.list_parts(**where)["Parts"]
assert [(part["PartNumber"], part["Size"]) for part in told] == [(1, 5 << 20), (2, 10), (3, 5)], told
told = s3.list_parts(**where, MaxParts=1, PartNumberMarker=1)
assert told["IsTruncated"] and [part["PartNumber"] for part in told["Parts"]] == [2], told
refused("NoSuchKey", 404, s3.get_object, Bucket="photos", Key="slow")


def completed(*parts, **more):
    named = [{"PartNumber": number, "ETag": tag} for number, tag in parts]
    return s3.complete_multipart_upload(**where, MultipartUpload={"Parts": named}, **more)


refused("InvalidPart", 400, lambda: completed((1, '"other"')))
refused("InvalidPart", 400, lambda: completed((4, tags[0])))
refused("InvalidPartOrder", 400, lambda: completed((1, tags[0]), (1, tags[0])))
refused("EntityTooSmall", 400, lambda: completed((2, f'"{md5(b"not wanted")}"'), (3, tags[1])))
done = completed((1, tags[0]), (3, tags[1]), IfNoneMatch="*")
assert completed((1, tags[0]), (3, tags[1]))["ETag"] == done["ETag"], "who was not told asks again"
slow = s3.get_object(Bucket="photos", Key="slow")
assert slow["Body"].read() == first + movie[5:10] and slow["Metadata"] == {"a": "b"}
refused("NoSuchUpload", 404, s3.upload_part, **where, PartNumber=4, Body=b"late")
refused("NoSuchUpload", 404, s3.list_parts, **where)
s3.upload_part(Bucket="photos", Key="slower", UploadId=second, PartNumber=1, Body=b"in vain")
s3.abort_multipart_upload(Bucket="photos", Key="slower", UploadId=second)
refused("NoSuchUpload", 404, s3.abort_multipart_upload, Bucket="photos", Key="slower", UploadId=second)
assert "Uploads" not in s3.list_multipart_uploads(Bucket="photos")

# Links that were signed before, in both ways.
for version in ["s3v4", "s3"]:
    signer = client(signature_version=version)
    link = signer.generate_presigned_url("put_object", Params={"Bucket": "photos", "Key": "by link"}, ExpiresIn=60)
    request = urllib.request.Request(link, data=version.encode(), method="PUT", headers={"content-type": ""})
    assert urllib.request.urlopen(request).status == 200
    link = signer.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "by link"}, ExpiresIn=60)
    assert urllib.request.urlopen(link).read() == version.encode()
    old = signer.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "by link"}, ExpiresIn=-60)
    for wrong in [link.replace("by%20link", "large"), link.replace("Signature=", "Signature=0"), old]:
        try:
            urllib.request.urlopen(wrong)
        except urllib.error.HTTPError as error:
            assert error.code in (400, 403), (error, error.read())
        else:
            raise AssertionError(wrong)

# All goes, and nothing is left.
for bucket in ["photos", "others"]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": one["Key"]} for one in page.get("Contents", [])]})
    s3.delete_bucket(Bucket=bucket)
assert s3.list_buckets()["Buckets"] == []
