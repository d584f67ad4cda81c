// Reads gzip files with Go's compress/gzip, as kwild does, and says what came out. On standard input each file stands behind
// its length (four bytes, little-endian); on standard output stands a 1 and the SHA-256 of its text, or 33 zeros.
//
// The verdicts that the tests keep for machines without Go are made anew by
//
//	go run tests/gzip/read.go <tests/data/gzip/files >tests/data/gzip/go
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"log"
	"os"
)

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	reader := new(gzip.Reader)
	for {
		var length uint32
		if err := binary.Read(in, binary.LittleEndian, &length); err == io.EOF {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		file := make([]byte, length)
		if _, err := io.ReadFull(in, file); err != nil {
			log.Fatal(err)
		}
		hash := sha256.New()
		err := reader.Reset(bytes.NewReader(file))
		if err == nil {
			_, err = io.Copy(hash, reader)
		}
		verdict := make([]byte, 33)
		if err == nil {
			verdict[0] = 1
			hash.Sum(verdict[:1])
		}
		out.Write(verdict)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}
