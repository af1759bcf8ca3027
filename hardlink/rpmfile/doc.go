// Package rpmfile reads the parts of an rpm that say what it is: the lead, the signature header, which Koji
// keeps apart from the rpm (.sig) and of which it makes signed copies, and the main header. What the database
// says of an rpm it does not know.
package rpmfile
