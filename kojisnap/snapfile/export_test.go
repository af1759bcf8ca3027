package snapfile

// What a program with another catalogue does.
var (
	OpenWith   = openWith
	EncodeWith = (*Manifest).encode
)
