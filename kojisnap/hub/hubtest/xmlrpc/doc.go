// Package xmlrpc reads calls and writes replies as Koji's hub does, byte for byte.
package xmlrpc
