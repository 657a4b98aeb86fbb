# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operator's custom resource CcRuntime as one table: what may stand in each place of a manifest.

The table has the fields of every version of the CRD, because manifests outlive operators. ``_operator.schema`` has the words in
which it is written, ``_operator.check`` compares with it.
"""

from __future__ import annotations

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.schema import (
    anything,
    beyond,
    flag,
    labels,
    list_of,
    mapping,
    number,
    text,
)

KIND = "CcRuntime"
API_VERSION = "confidentialcontainers.org/v1beta1"

_VALUE = "Give the variable a value, which may come from a vault."
ENVIRONMENT = list_of(
    mapping(
        name=text(required=True),
        value=text(),
        valueFrom=mapping(
            beyond(_VALUE, "configMapKeyRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"),
            fieldRef=mapping(
                required=True,
                apiVersion=text(),
                fieldPath=text("spec.nodeName", required=True, instead=_VALUE),
            ),
        ),
    )
)

VOLUMES = list_of(
    mapping(
        beyond(
            "Put what it holds into a directory of the node, and name that with hostPath.",
            *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "configMap", "csi", "downwardAPI"),
            *("ephemeral", "fc", "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "image"),
            *("iscsi", "nfs", "persistentVolumeClaim", "photonPersistentDisk", "portworxVolume", "projected"),
            *("quobyte", "rbd", "scaleIO", "secret", "storageos", "vsphereVolume"),
        ),
        name=text(required=True),
        hostPath=mapping(
            path=text(required=True),
            type=text(
                *("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
            ),
        ),
        emptyDir=mapping(medium=text(), sizeLimit=anything()),
    )
)

MOUNTS = list_of(
    mapping(
        beyond("Write the path out in subPath.", "subPathExpr"),
        mountPath=text(required=True),
        name=text(required=True),
        readOnly=flag(),
        recursiveReadOnly=text(unused="a mount that is read-only is so as a whole"),
        subPath=text(),
        mountPropagation=text("None", "HostToContainer", "Bidirectional"),
    )
)

CLASSES = list_of(mapping(name=text(required=True), snapshotter=text(), pulltype=text()))

HOOK = mapping(
    image=text(),
    cmd=list_of(text()),
    environmentVariables=ENVIRONMENT,
    volumes=VOLUMES,
    volumeMounts=MOUNTS,
)

_NOBODY = "nothing reads it, the operator neither"
_SECRET = mapping(
    name=text(),
    unused="a secret of the cluster is not to be had here, so give its credentials in coco_registry_auth",
)

CONFIG = mapping(
    required=True,
    payloadImage=text(required=True),
    installType=text("bundle", "osnative", required=True, unused="a payload is always an image"),
    installCmd=list_of(text()),
    uninstallCmd=list_of(text()),
    cleanupCmd=list_of(text()),
    installerVolumes=VOLUMES,
    installerVolumeMounts=MOUNTS,
    environmentVariables=ENVIRONMENT,
    runtimeClasses=CLASSES,
    runtimeClassNames=list_of(text()),
    defaultRuntimeClassName=text(),
    debug=flag(),
    installDoneLabel=labels(),
    uninstallDoneLabel=labels(),
    preInstall=HOOK,
    postUninstall=HOOK,
    imagePullPolicy=text(unused="a payload is pulled when a node lacks it"),
    imagePullSecret=_SECRET,
    ImagePullSecret=_SECRET,
    runtimeImage=text(unused=_NOBODY),
    guestKernelImage=text(unused=_NOBODY),
    guestInitrdImage=text(unused=_NOBODY),
    osNativeRepo=text(unused=_NOBODY),
)

MANIFEST = mapping(
    apiVersion=text(API_VERSION, required=True),
    kind=text(KIND, required=True),
    metadata=anything(),
    status=anything(),
    spec=mapping(
        required=True,
        runtimeName=text("kata", "enclave-cc", required=True),
        ccNodeSelector=mapping(
            nullable=True,
            matchLabels=labels(),
            matchExpressions=list_of(
                mapping(key=text(required=True), operator=text(required=True), values=list_of(text())),
                unused="the operator acts on matchLabels only",
            ),
        ),
        ccTolerations=list_of(
            mapping(key=text(), operator=text(), value=text(), effect=text(), tolerationSeconds=number()),
            unused="no pod has to be scheduled",
        ),
        config=CONFIG,
    ),
)
