# What schemathesis needs to be told of bodies that it does not know.
import schemathesis
from hypothesis import strategies

schemathesis.openapi.media_type("application/cbor", strategies.binary(max_size=4096))
