"""Three small records for the demonstration, written here: a FHIR bundle, a PDF and a PNG.

The patient does not exist. Each file is made the same every time.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

PICTURE_SIDE = 96


def fhir_bundle() -> bytes:
    """Return a FHIR R4 document bundle: a patient with a problem, a medicine and vital signs."""
    patient = {"reference": "Patient/anna"}
    entries: Sequence[dict[str, Any]] = (
        {
            "resourceType": "Patient",
            "id": "anna",
            "name": [{"family": "Example", "given": ["Anna"]}],
            "gender": "female",
            "birthDate": "1984-05-17",
        },
        {
            "resourceType": "Condition",
            "id": "hypertension",
            "subject": patient,
            "code": {"text": "Essential hypertension"},
            "clinicalStatus": {"coding": [{"code": "active"}]},
        },
        {
            "resourceType": "MedicationStatement",
            "id": "ramipril",
            "subject": patient,
            "status": "active",
            "medicationCodeableConcept": {"text": "Ramipril 5 mg, once a day"},
        },
        {
            "resourceType": "AllergyIntolerance",
            "id": "penicillin",
            "patient": patient,
            "code": {"text": "Penicillin"},
            "criticality": "high",
        },
        *(
            {
                "resourceType": "Observation",
                "id": f"pressure-{week}",
                "subject": patient,
                "status": "final",
                "code": {"text": "Blood pressure"},
                "effectiveDateTime": f"2026-10-{4 + 7 * week:02d}T08:30:00Z",
                "component": [
                    _quantity("Systolic", 152 - 4 * week),
                    _quantity("Diastolic", 96 - 3 * week),
                ],
            }
            for week in range(4)
        ),
    )
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": one} for one in entries],
    }
    return json.dumps(bundle, indent=2).encode()


def pdf_letter() -> bytes:
    """Return a one-page PDF 1.4 with a letter in it."""
    lines = (
        "Discharge letter",
        "Patient: Anna Example, born 17 May 1984",
        "Essential hypertension, well controlled under ramipril 5 mg.",
        "Penicillin allergy. Next visit in three months.",
    )
    text = b"BT /F1 14 Tf 72 760 Td 22 TL " + b" ".join(
        b"(" + line.encode("ascii") + b") Tj T*" for line in lines
    )
    stream = text + b" ET"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    document = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(document)
    document += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    document += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    document += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    document += b"startxref\n%d\n%%%%EOF\n" % start
    return bytes(document)


def png_image() -> bytes:
    """Return a grey-scale PNG: bright rings on black, as a scan of a phantom would look."""
    rows = bytearray()
    middle = PICTURE_SIDE // 2
    for y in range(PICTURE_SIDE):
        rows.append(0)  # No filter.
        for x in range(PICTURE_SIDE):
            squared = (x - middle) ** 2 + (y - middle) ** 2
            rows.append((squared * 3) % 200 + 40 if squared < middle**2 else 0)
    header = struct.pack(">IIBBBBB", PICTURE_SIDE, PICTURE_SIDE, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(rows), 9))
        + _chunk(b"IEND", b"")
    )


def _quantity(name: str, value: int) -> dict[str, Any]:
    return {"code": {"text": name}, "valueQuantity": {"value": value, "unit": "mmHg"}}


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
