# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which images an archive has, and that nothing in it is believed without its digest."""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import (
    Archive,
    Image,
    select,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.blobs import TarFiles
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import Reference
from ansible_collections.confidential_containers.runtime.tests.unit.archives import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    Entry,
    OciArchive,
    artifact,
    digest_of,
    docker_entries,
    entry,
    extract,
    extract_root,
    file,
    link,
    members,
    named,
    tar,
    unfinished_sparse,
)

CONTENT = tar(file("x", b"content"))


def images(path: Path, reference: str = "") -> list[Image]:
    with Archive(Reference("oci-archive", str(path), reference)) as archive:
        found = archive.images()
        for layer in (layer for image in found for layer in image.layers):
            archive.open_layer(layer).close()
        return found


def write(path: Path, *entries: Entry) -> Path:
    path.write_bytes(tar(*entries))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.tar"


# What is in an archive that is as it should be.


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_oci_archive(path: Path, compression: str) -> None:
    archive = OciArchive()
    layer = archive.layer(CONTENT, compression)
    manifest = archive.image(layer, **named("v1"))
    [image] = images(archive.write(path, manifest))
    assert (image.digest, image.digest_kind) == (manifest["digest"], "manifest")
    assert (image.architecture, image.names) == ("amd64", ("v1",))
    assert sorted(image.chain.values()) == ["config", "manifest"]
    assert [(one.digest, one.size, one.compression) for one in image.layers] == [
        (layer["digest"], layer["size"], compression)
    ]
    assert image.identity() == {
        "digest": manifest["digest"],
        "digest_kind": "manifest",
        "chain": dict(image.chain),
        "architecture": "amd64",
    }


@pytest.mark.parametrize("prefix", ["", "./"])
def test_members_may_be_named_from_the_current_directory(path: Path, prefix: str) -> None:
    archive = OciArchive()
    entries = archive.entries(archive.image(archive.layer(CONTENT)))
    for info, _content in entries:
        info.name = prefix + info.name
    assert len(images(write(path, *entries))) == 1


def test_another_platform_s_layers_may_be_missing(path: Path) -> None:
    """What an engine keeps of an index: all manifests, and the layers for its own platform."""
    archive = OciArchive()
    mine, other = archive.layer(CONTENT), archive.layer(tar(file("y", b"other")))
    index = archive.index(archive.image(mine), archive.image(other, architecture="s390x"))
    del archive.blobs[other["digest"]]
    with Archive(Reference("oci-archive", str(archive.write(path, index)))) as opened:
        one, two = opened.images()
        assert opened.open_layer(one.layers[0]).read() == archive.blobs[mine["digest"]]
        with pytest.raises(Refusal, match=other["digest"]):
            opened.open_layer(two.layers[0])


def test_a_nested_index_is_a_multi_platform_image(path: Path) -> None:
    archive = OciArchive()
    layer = archive.layer(CONTENT)
    one, two = archive.image(layer), archive.image(layer, architecture="s390x")
    attestation = archive.image(platform={"architecture": "unknown", "os": "unknown"})
    index = archive.index(one, two, attestation, **named("v1"))
    found = {image.architecture: image for image in images(archive.write(path, index))}
    assert {name: image.digest for name, image in found.items()} == {"amd64": one["digest"], "s390x": two["digest"]}
    assert found["s390x"].chain[index["digest"]] == "index"
    assert found["s390x"].chain[two["digest"]] == "manifest"
    assert one["digest"] not in found["s390x"].chain
    assert found["amd64"].names == ("v1",)


def test_docker_archive_before_docker_25(path: Path) -> None:
    layers = [CONTENT, tar(file("y", b"more"))]
    entries = docker_entries(*layers, tags=["a/b:v1", "a/b:v2"])
    [image] = images(write(path, *entries))
    assert (image.digest, image.digest_kind) == (digest_of(entries[0][1]), "config")
    assert image.chain == {image.digest: "config"}
    assert (image.architecture, image.names) == ("amd64", ("a/b:v1", "a/b:v2"))
    assert [layer.digest for layer in image.layers] == [digest_of(layer) for layer in layers]
    assert {layer.compression for layer in image.layers} == {""}


def test_docker_archive_may_link_a_shared_layer(path: Path) -> None:
    entries = docker_entries(CONTENT, CONTENT)
    [place] = [number for number, (info, dummy) in enumerate(entries) if info.name == f"{1:064x}/layer.tar"]
    entries[place] = link(f"{1:064x}/layer.tar", f"../{0:064x}/layer.tar")
    with Archive(Reference("oci-archive", str(write(path, *entries)))) as archive:
        [image] = archive.images()
        assert [archive.open_layer(layer).read() for layer in image.layers] == [CONTENT, CONTENT]


CRANE, JIB, BAZEL = "sha256:{config}", "config.json", "blobs/sha256/{config}"


@pytest.mark.parametrize("compression", ["gzip", "zstd", ""])
@pytest.mark.parametrize(
    ("config", "layer"),
    [(CRANE, "{layer}.tar.gz"), (JIB, "{layer}.tar.gz"), (BAZEL, "blobs/sha256/{layer}"), (BAZEL, "{layer}.tar.gz")],
    ids=["crane", "Jib", "Bazel", "older Bazel"],
)
def test_what_other_tools_write_for_docker_load(
    path: Path, tmp_path: Path, config: str, layer: str, compression: str
) -> None:
    """Names of their own, and compressed layers, of which only the digest of their content is known."""
    artifacts = [tar(artifact(file("bin/x", b"x" * 99999, 0o755))), tar(artifact(file("bin/y", b"y")))]
    path.write_bytes(tar(*for_docker_load(artifacts, config, layer, compression)))
    [image] = images(path)
    assert image.digest_kind == "config"
    assert [one.digest for one in image.layers] == [digest_of(one) for one in artifacts]
    target = tmp_path / "target"
    target.mkdir()
    found = extract(path, target, transport="docker-archive")
    assert sorted(found.tree) == ["bin", "bin/x", "bin/y"]
    assert (target / "bin/x").read_bytes() == b"x" * 99999
    extract_root(path, tmp_path / "root", transport="docker-archive")
    assert (tmp_path / "root/opt/kata-artifacts/opt/confidential-containers/bin/y").read_bytes() == b"y"


@pytest.mark.parametrize("wrong", ["content", "stream", "config"])
def test_what_other_tools_write_is_checked(path: Path, wrong: str) -> None:
    artifacts = [tar(artifact(file("bin/x", b"x" * 99999, 0o755)))]
    entries = for_docker_load(artifacts, CRANE, "{layer}.tar.gz", "gzip")
    packed = entries[0][1]
    changed = {"content": gzip.compress(tar(artifact(file("bin/x", b"y" * 99999)))), "stream": packed[:-20]}
    if wrong == "config":
        entries[-2] = file(entries[-2][0].name, entries[-2][1] + b" ")
    else:
        entries[0] = file(entries[0][0].name, changed[wrong])
    path.write_bytes(tar(*entries))
    with pytest.raises(
        Refusal, match="named by its own digest" if wrong == "config" else f"layer {digest_of(artifacts[0])}"
    ):
        extract(path, transport="docker-archive")


def for_docker_load(layers: list[bytes], config: str, layer: str, compression: str) -> list[Entry]:
    """Return an archive with other names than Docker's. Its last two members are the configuration and the manifest."""
    packed = [packed_with(compression, one) for one in layers]
    diff_ids = [digest_of(one) for one in layers]
    configuration = json.dumps({"architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    names = [layer.format(layer=digest_of(one)[7:]) for one in packed]
    name = config.format(config=digest_of(configuration)[7:])
    manifest = [{"Config": name, "RepoTags": ["a/b:v1"], "Layers": names}]
    made = [file(*one) for one in zip(names, packed, strict=True)]
    return [*made, file(name, configuration), file("manifest.json", json.dumps(manifest).encode())]


def packed_with(compression: str, content: bytes) -> bytes:
    if compression == "zstd":
        return subprocess.run(["zstd", "--stdout"], input=content, capture_output=True, check=True).stdout
    return gzip.compress(content) if compression else content


def test_docker_archive_without_a_tag(path: Path) -> None:
    [image] = images(write(path, *docker_entries(CONTENT, tags=None)))
    assert image.names == ()


@pytest.mark.parametrize("reference", ["v1", "v2"])
def test_a_reference_chooses_among_several_images(path: Path, reference: str) -> None:
    archive = OciArchive()
    made = {
        "v1": archive.image(archive.layer(CONTENT), **named("v1")),
        "v2": archive.image(archive.layer(tar(file("y"))), **named("v2")),
    }
    archive.write(path, *made.values())
    assert [image.digest for image in images(path, reference)] == [made[reference]["digest"]]


def test_a_docker_archive_of_docker_25_knows_its_repository_tags(path: Path) -> None:
    """It is an OCI layout, in which the reference's name is only the tag; manifest.json has the whole name."""
    archive = OciArchive()
    layer = archive.layer(CONTENT, "")
    manifest = archive.image(layer, **named("v1"))
    config = json.loads(archive.blobs[manifest["digest"]])["config"]
    listed = [
        {
            "Config": f"blobs/sha256/{config['digest'][7:]}",
            "RepoTags": ["coco-test:v1"],
            "Layers": [f"blobs/sha256/{layer['digest'][7:]}"],
        }
    ]
    write(path, *archive.entries(manifest), file("manifest.json", json.dumps(listed).encode()))
    assert [image.digest for image in images(path)] == [manifest["digest"]]
    assert [image.digest for image in images(path, "coco-test:v1")] == [manifest["digest"]]


# What is no image archive, in the user's words.


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        pytest.param([], "nothing|neither|no plain tar|no image", id="empty tar"),
        pytest.param([file("etc/passwd", b"x")], "neither index.json nor manifest.json", id="some tar"),
        pytest.param([file("index.json", b'{"manifests": []}')], "neither index.json nor manifest.json", id="half a layout"),
        pytest.param([file("oci-layout"), file("index.json", b'{"manifests": []}')], "no image in it", id="no image"),
        pytest.param([file("oci-layout"), file("index.json", b"{")], "valid JSON", id="broken JSON"),
        pytest.param([file("oci-layout"), file("index.json", b"\xff\xfe\x00")], "valid JSON", id="not even text"),
        pytest.param([file("oci-layout"), file("index.json", b"[]")], "specification", id="a list for an index"),
        pytest.param([file("oci-layout"), file("index.json", b"null")], "specification", id="null for an index"),
        pytest.param([file("oci-layout"), file("index.json", b'{"manifests": [1]}')], "specification", id="a number in it"),
        pytest.param([file("oci-layout"), link("index.json", "/etc/passwd")], "index.json", id="a link for an index"),
        pytest.param([file("oci-layout"), file("index.json", b" " * (5 << 20))], "at most", id="a huge index"),
        pytest.param([file("oci-layout"), file("index.json", b"[" * 200_000)], "JSON|specification", id="a deep index"),
        pytest.param([file("manifest.json", b"[]")], "no image in it", id="no Docker image"),
        pytest.param([file("manifest.json", b"{}")], "no image in it", id="a mapping for a list"),
        pytest.param([file("manifest.json", b'[{"Config": "c.json"}]')], "c.json", id="Docker without configuration"),
        pytest.param([file("manifest.json", b'[{"Layers": []}]')], "specification", id="Docker without a name of it"),
        pytest.param(
            [
                file("manifest.json", b'[{"Config": "%s.json", "Layers": []}]' % (b"0" * 64)),
                file("0" * 64 + ".json", b"{}"),
            ],
            "named by its own digest",
            id="a configuration with the name of another one",
        ),
    ],
)  # fmt: skip
def test_no_image_archive(path: Path, entries: list[Entry], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        images(write(path, *entries))


def test_no_such_file(path: Path) -> None:
    with pytest.raises(Refusal, match="no such file"):
        images(path)


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="a directory"):
        images(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not a tar\n" * 200, id="text"),
        pytest.param(b"\x1f\x8b\x08\x00" + b"\0" * 1000, id="compressed"),
        pytest.param(b"\x28\xb5\x2f\xfd" + b"\1" * 1000, id="compressed with zstd"),
    ],
)
def test_no_tar(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Refusal, match="no plain tar archive"):
        images(path)


def test_a_path_below_a_file(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(Refusal, match="image archive that can be read"):
        images(path / "x")


def test_very_many_long_names(path: Path) -> None:
    """tarfile calls itself for each of them."""
    long = tarfile.TarInfo("x" * 120).tobuf(tarfile.GNU_FORMAT)[:1024]
    path.write_bytes(long * 3000 + tar(file("x")))
    with pytest.raises(Refusal, match="tar"):
        images(path)


def test_nonsense_about_a_sparse_member(path: Path) -> None:
    info = file("x", b"not the numbers that belong here" * 16)[0]
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "x"}
    path.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + b"not the numbers that belong here" * 16 + bytes(1024))
    with pytest.raises(Refusal, match="tar"):
        images(path)


def test_a_sparse_member_whose_header_goes_on(path: Path) -> None:
    path.write_bytes(unfinished_sparse(file("x")))
    with pytest.raises(Refusal, match="tar"):
        images(path)


# Documents that are what their digest says, and yet lie or say nonsense.


def oci(manifest: dict[str, t.Any], config: t.Any = None) -> list[Entry]:
    archive = OciArchive()
    described = archive.blob(json.dumps({"architecture": "amd64"} if config is None else config).encode(), CONFIG)
    layer = archive.layer(CONTENT)
    complete = {"config": described, "layers": [layer], **manifest}
    return archive.entries(archive.blob(json.dumps(complete).encode(), MANIFEST))


def layer_with(**changes: t.Any) -> dict[str, t.Any]:
    return {"layers": [{**OciArchive().layer(CONTENT), **changes}]}


NONE = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        pytest.param(oci({"layers": None}), "specification", id="no layers"),
        pytest.param(oci({"layers": [{}]}), "digest", id="a layer without a digest"),
        pytest.param(oci({"config": None}), "specification", id="no configuration"),
        pytest.param(oci({"config": {"digest": NONE}}), "blobs/sha256/0000", id="a configuration that is not there"),
        pytest.param(oci({"config": {"digest": "sha512:" + "0" * 128}}), "sha256 digest", id="another algorithm"),
        pytest.param(oci({"config": {"digest": "sha256:../../../etc/passwd"}}), "sha256 digest", id="a path for a digest"),
        pytest.param(oci({"config": {"digest": ["x"]}}), "sha256 digest", id="a list for a digest"),
        pytest.param(oci({}, config=[]), "specification", id="a list for a configuration"),
        pytest.param(oci({}, config={"architecture": ["amd64"]}), "specification", id="a list for an architecture"),
        pytest.param(oci({}, config={"architecture": {"a": 1}}), "specification", id="a mapping for an architecture"),
        pytest.param(oci(layer_with(digest=NONE)), "none", id="a layer that is not there"),
        pytest.param(oci(layer_with(size=1)), "of 1 bytes", id="a layer of another size"),
        pytest.param(oci(layer_with(size=None)), "specification", id="a layer without a size"),
        pytest.param(oci(layer_with(size="many")), "specification", id="a size that is no number"),
        pytest.param(oci(layer_with(size=float("inf"))), "specification", id="an infinite size"),
        pytest.param(oci(layer_with(mediaType="text/html")), "known type.*text/html", id="a layer of another type"),
        pytest.param(oci(layer_with(mediaType=None)), "known type", id="a layer without a type"),
        pytest.param(oci(layer_with(mediaType=LAYER + "+brotli")), "known type", id="an unknown compression"),
    ],
)  # fmt: skip
def test_nonsense_in_a_manifest(path: Path, entries: list[Entry], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        images(write(path, *entries))


@pytest.mark.parametrize(
    ("manifests", "says"),
    [
        pytest.param([{"mediaType": "text/html", "digest": NONE}], "media type text/html", id="another type"),
        pytest.param([{"digest": NONE}], "blobs/sha256/0000", id="no type"),
        pytest.param([{"mediaType": INDEX, "digest": NONE}], "blobs/sha256/0000", id="an index that is not there"),
        pytest.param([{"mediaType": MANIFEST, "digest": NONE}], "blobs/sha256/0000", id="a manifest that is not there"),
        pytest.param([{"mediaType": MANIFEST}], "sha256 digest", id="a manifest without a digest"),
        pytest.param([{"mediaType": MANIFEST, "digest": NONE, "platform": None}], "specification", id="null for a platform"),
        pytest.param([{"mediaType": MANIFEST, "digest": NONE, "annotations": 7}], "specification", id="a number for notes"),
    ],
)  # fmt: skip
def test_nonsense_in_the_index(path: Path, manifests: list[dict[str, t.Any]], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        images(OciArchive().write(path, *manifests))


def unnamed(path: Path, reference: str) -> list[Image]:
    archive = OciArchive()
    return images(archive.write(path, archive.image(archive.layer(CONTENT))), reference)


def named_twice(path: Path, reference: str) -> list[Image]:
    archive = OciArchive()
    made = [archive.image(archive.layer(tar(file(name))), **named(name)) for name in ("v1", "v2")]
    return images(archive.write(path, *made), reference)


@pytest.mark.parametrize(
    ("read", "remedy"),
    [
        (lambda path: images(write(path, file("x"))), "Make one with 'skopeo copy"),
        (lambda path: images(write(path, file("manifest.json", b"[]"))), "Make one with 'skopeo copy"),
        (lambda path: unnamed(path, "v1"), "Leave the name out"),
        (lambda path: named_twice(path, ""), "Name one of them behind the path: v1, v2."),
        (lambda path: named_twice(path, "v3"), "Name one of them behind the path: v1, v2."),
        (lambda path: images(write(path, *oci(layer_with(size=1)))), "Fetch or make it again."),
        (lambda path: images(write(path, *oci(layer_with(size=None)))), "It was made like that"),
        (lambda path: images(write(path, *oci(layer_with(mediaType=LAYER + "+gzip+encrypted")))), "Decrypt the image"),
        (lambda path: images(write(path, *oci(layer_with(mediaType=LAYER + "+brotli")))), "Convert the image"),
        (lambda path: images(OciArchive().write(path, {"mediaType": "text/html", "digest": NONE})), "Convert the image"),
        (lambda path: images(OciArchive().write(path, {"digest": "md5:1"})), "It was made like that"),
    ],
)  # fmt: skip
def test_what_to_do_fits_what_was_found(path: Path, read: t.Callable[[Path], object], remedy: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(path)
    assert refused.value.remedy.startswith(remedy)


def test_indexes_in_indexes_have_an_end(path: Path) -> None:
    archive = OciArchive()
    index = archive.image(archive.layer(CONTENT))
    for _dummy in range(5):
        index = archive.index(index)
    with pytest.raises(Refusal, match="image manifest or an index"):
        images(archive.write(path, index))


@pytest.mark.parametrize("what", [MANIFEST, CONFIG])
def test_a_document_that_is_not_what_its_digest_says(path: Path, what: str) -> None:
    archive = OciArchive()
    manifest = archive.image(archive.layer(CONTENT))
    digest = (
        manifest["digest"] if what == MANIFEST else json.loads(archive.blobs[manifest["digest"]])["config"]["digest"]
    )
    archive.blobs[digest] = archive.blobs[digest].replace(b"2", b"3").replace(b"amd64", b"amd46")
    with pytest.raises(Refusal, match=f"with digest {digest}"):
        images(archive.write(path, manifest))


@pytest.mark.parametrize(
    "target", ["nowhere", "index.json", "/etc/passwd", "self"], ids=["missing", "another", "outside", "itself"]
)
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
def test_a_layer_that_is_a_link(path: Path, kind: bytes, target: str) -> None:
    archive = OciArchive()
    layer = archive.layer(CONTENT)
    manifest = archive.image(layer)
    name = f"blobs/sha256/{layer['digest'][7:]}"
    entries = [made for made in archive.entries(manifest) if made[0].name != name]
    info, _content = entry(name, kind, linkname=name if target == "self" else target)
    info.size = layer["size"]  # the size that a layer has, in the header of a link that has none
    path.write_bytes(members(*entries) + info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    with pytest.raises(Refusal), Archive(Reference("oci-archive", str(path))) as opened:
        [image] = opened.images()
        if opened.open_layer(image.layers[0]).read() != archive.blobs[layer["digest"]]:
            raise Refusal("the layer's bytes", "others", "That is for the digest to find out.")


def test_several_images_and_no_reference(path: Path) -> None:
    archive = OciArchive()
    one = archive.image(archive.layer(CONTENT), **named("v1"))
    two = archive.image(archive.layer(tar()), **named("v2"))
    with pytest.raises(Refusal, match=r"several images in it \(v1, v2\)"):
        images(archive.write(path, one, two))


def test_no_image_of_that_name(path: Path) -> None:
    archive = OciArchive()
    archive.write(path, archive.image(archive.layer(CONTENT), **named("v1")))
    with pytest.raises(Refusal, match="no image named v2"):
        images(path, "v2")


def test_docker_archive_with_another_number_of_layers(path: Path) -> None:
    entries = docker_entries(CONTENT, CONTENT)
    manifest = json.loads(entries[1][1])
    manifest[0]["Layers"].pop()
    entries[1] = file("manifest.json", json.dumps(manifest).encode())
    with pytest.raises(Refusal, match="with 1 layers"):
        images(write(path, *entries))


@pytest.mark.parametrize("layers", [[], ["nowhere/layer.tar"]], ids=["fewer", "another"])
def test_docker_archive_without_its_layer(path: Path, layers: list[str]) -> None:
    entries = docker_entries(CONTENT)
    manifest = json.loads(entries[1][1])
    manifest[0]["Layers"] = layers
    entries[1] = file("manifest.json", json.dumps(manifest).encode())
    with pytest.raises(Refusal, match="layer"):
        images(write(path, *entries))


@pytest.mark.parametrize("tags", [[1, "a"], "text", 7], ids=["a number among them", "text", "a number"])
def test_docker_archive_with_nonsense_for_tags(path: Path, tags: t.Any) -> None:
    entries = docker_entries(CONTENT, tags=tags)
    manifest = json.loads(entries[1][1])
    entries[1] = file("manifest.json", json.dumps(manifest * 2).encode())
    with pytest.raises(Refusal):
        images(write(path, *entries))


# Which of the images a node gets.

AMD64, S390X, INDEX_OF_BOTH = ("sha256:" + digit * 64 for digit in "abc")
IDENTITIES = [
    {"digest": AMD64, "architecture": "amd64", "chain": {INDEX_OF_BOTH: "index", AMD64: "manifest"}},
    {"digest": S390X, "architecture": "s390x", "chain": {INDEX_OF_BOTH: "index", S390X: "manifest"}},
]


@pytest.mark.parametrize(
    ("architecture", "expected", "digest"),
    [
        ("amd64", "", AMD64),
        ("s390x", "", S390X),
        ("amd64", AMD64, AMD64),
        ("s390x", INDEX_OF_BOTH, S390X),
    ],
)
def test_select(architecture: str, expected: str, digest: str) -> None:
    assert select(IDENTITIES, architecture, expected)["digest"] == digest


@pytest.mark.parametrize(
    ("architecture", "expected", "says"),
    [
        ("arm64", "", "a payload for amd64, s390x"),
        ("arm64", AMD64, "a payload for amd64, s390x"),
        ("amd64", S390X, f"index {INDEX_OF_BOTH}, manifest {AMD64}"),
        ("amd64", "sha256:" + "0" * 64, "with digest sha256:000"),
        ("amd64", "sha256:0", "64 hexadecimal digits"),
        ("amd64", "a" * 64, "64 hexadecimal digits"),
    ],
)
def test_select_refuses(architecture: str, expected: str, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        select(IDENTITIES, architecture, expected)


def test_two_layers_are_read_at_once(path: Path) -> None:
    """Each from a place of its own: one in a thread, while another one is looked at."""
    contents = [bytes([number]) * 100_000 for number in range(2)]
    write(path, *(file(str(number), content) for number, content in enumerate(contents)))
    files = TarFiles(str(path))
    with files.open("0") as first, files.open("1") as second:
        read: list[list[bytes]] = [[], []]
        for _turn in range(100):
            for into, stream in zip(read, (first, second), strict=True):
                into.append(stream.read(1000))
        assert [b"".join(pieces) for pieces in read] == contents
        assert (first.read(), second.read(1)) == (b"", b"")
    with path.open("r+b") as stream:
        stream.truncate(60_000)
    with files.open("0") as cut, pytest.raises(tarfile.ReadError):
        cut.read()
    files.close()
