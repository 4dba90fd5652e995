"""Rules of packages: the archive, its manifest, the sums of its files. Names as in son-validate."""

from __future__ import annotations

from pytest_sonemu.descriptors.rule_types import Example, Rule

PACKAGE_RULES = (
    Rule(
        "evt_package_format_invalid",
        "package",
        "The file is not a SONATA or 5GTANGO package: no zip archive, damaged, empty, or of another"
        " orchestrator.",
        "always",
        "error",
        "error",
        Example("archive", "a tar.gz of OSM named web.son", "pack the project with `sonemu pack`"),
    ),
    Rule(
        "evt_package_struct_invalid",
        "package",
        "The folders of the archive are not those of a package: META-INF holds MANIFEST.MF alone, and there"
        " are service_descriptors and function_descriptors with files in them.",
        "sometimes",
        "warning",
        "error",
        Example("archive", "META-INF/ holds MANIFEST.MF and notes.txt", "META-INF/ holds MANIFEST.MF alone"),
    ),
    Rule(
        "evt_package_signature_invalid",
        "package",
        "The package has a signature that is none.",
        "never",
        "warning",
        "error",
        Example("manifest", 'signature: ""\n', "signature: aGVsbG8gd29ybGQ=\n"),
    ),
    Rule(
        "evt_pd_stx_invalid",
        "package",
        "The manifest is not as its schema demands.",
        "sometimes",
        "warning",
        "error",
        Example("manifest", "version: 0.1\n", 'version: "0.1"\n'),
    ),
    Rule(
        "evt_pd_itg_invalid_reference",
        "package",
        "A file that the manifest lists is not in the package.",
        "sometimes",
        "warning",
        "error",
        Example(
            "manifest",
            """\
package_content:
  - name: /service_descriptors/nsd.yml
    content-type: application/sonata.service_descriptor
  - name: /function_descriptors/fv.yml
    content-type: application/sonata.function_descriptor
""",
            """\
package_content:
  - name: /service_descriptors/nsd.yml
    content-type: application/sonata.service_descriptor
  - name: /function_descriptors/fw.yml
    content-type: application/sonata.function_descriptor
""",
        ),
    ),
    Rule(
        "evt_pd_itg_invalid_md5",
        "package",
        "A file's sum is another than the manifest says: it was changed after packing. Of a 5GTANGO package"
        " the sums are SHA-256, SHA-1 or MD5.",
        "never",
        "warning",
        "warning",
        Example(
            "manifest",
            """\
package_content:
  - name: /service_descriptors/nsd.yml
    content-type: application/sonata.service_descriptor
    md5: 02236f2ae558018ed14b5222ef1bd9f1
  - name: /function_descriptors/fw.yml
    content-type: application/sonata.function_descriptor
""",
            """\
package_content:
  - name: /service_descriptors/nsd.yml
    content-type: application/sonata.service_descriptor
  - name: /function_descriptors/fw.yml
    content-type: application/sonata.function_descriptor
""",
        ),
    ),
    Rule(
        "evt_pd_itg_missing_entry_service",
        "package",
        "The manifest names no service to start, or one that is not in the package.",
        "sometimes",
        "warning",
        "error",
        Example(
            "manifest",
            "entry_service_template: /service_descriptors/nds.yml\n",
            "entry_service_template: /service_descriptors/nsd.yml\n",
        ),
    ),
)
