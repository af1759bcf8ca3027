// Package source reads production's files: from directories, by http and https, and from objects as
// those of S3. Several sources are asked in turn, until one gives the file as it has to be.
//
// # Servers
//
// A download that breaks off is taken up again where it was (Range, If-Range), unless the
// file changed: then it starts anew, once. 429, 5xx and a network that fails are waited
// for, four requests in all, as long as Retry-After says up to two minutes. Three files in
// a row that could not be had even so, and the server is not asked any more in this run.
// Redirects are followed on the same server only, and from http to https there. What is
// wrong with a certificate is told once and not tried again.
//
// What Options.Open opens, a bucket of S3, repeats and resumes by itself. There too
// three files in a row that could not be had are enough, and one answer that no other file
// would better: no such bucket, wrong credentials.
//
// That a server denies a file (403) is taken for a file that is missing there: S3 and CloudFront say so
// of what is not there to those who may not list the bucket. Only where all sources deny it, and none of
// them gave any other file in this run, a source is out of order.
package source
