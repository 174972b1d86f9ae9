module pageferry.test/codec

go 1.25.0

require (
	github.com/fxamacker/cbor/v2 v2.6.0
	github.com/klauspost/compress v1.18.0
)

require github.com/x448/float16 v0.8.4 // indirect
