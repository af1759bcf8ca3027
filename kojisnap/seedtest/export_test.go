package seedtest

var Parse = parse
