"""An A-ASSOCIATE-RQ PDU as bytes, for tests that speak to the listener over a plain socket."""

from __future__ import annotations

from collections.abc import Sequence

from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext

from tests.receiving import CALLING


def association_request(
    contexts: Sequence[PresentationContext], calling: str = CALLING, called: str = "FACENORM"
) -> bytes:
    """Return the PDU; the contexts get the IDs 1, 3, 5 and so on."""
    for number, context in enumerate(contexts):
        context.context_id = 1 + 2 * number
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    primitive.presentation_context_definition_list = list(contexts)
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = "1.2.3.4"
    primitive.user_information = [length, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())
