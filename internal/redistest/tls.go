package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// TLS makes the server speak TLS alone and demand a certificate of each client. It makes an authority of its own; what a
// client needs is [Server.TLSConfig]. A second server knows nothing of the first one's certificates.
func TLS() Option {
	return func(o *options) {
		o.tls = new(certificates)
		o.config = append(o.config, "tls-cert-file server.pem", "tls-key-file server.key", "tls-ca-cert-file ca.pem",
			"tls-auth-clients yes")
	}
}

// TLSConfig returns what a client of a server with [TLS] needs: the authority, and a certificate of its own. It is the
// caller's.
func (s *Server) TLSConfig() *tls.Config {
	s.tb.Helper()
	if s.p.tls == nil {
		s.tb.Fatalf("redistest: %s speaks no TLS", s.p.addr)
	}
	return s.p.tls.client.Clone()
}

// certificates are an authority, and what it has signed.
type certificates struct {
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
	client    *tls.Config
}

// write makes all certificates and puts those into a directory that the server reads.
func (c *certificates) write(dir string) error {
	*c = certificates{}
	ca, err := c.sign("authority")
	if err != nil {
		return err
	}
	if c.authority, err = x509.ParseCertificate(ca.Certificate[0]); err != nil {
		return err
	}
	server, err := c.sign(host)
	if err != nil {
		return err
	}
	client, err := c.sign("client")
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.authority)
	c.client = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{client}, ServerName: host, MinVersion: tls.VersionTLS12}
	for name, block := range map[string]*pem.Block{
		"ca.pem":     {Type: "CERTIFICATE", Bytes: ca.Certificate[0]},
		"server.pem": {Type: "CERTIFICATE", Bytes: server.Certificate[0]},
		"server.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// sign makes a key and a certificate of it: the first one is the authority's, which signs them all.
func (c *certificates) sign(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name + " " + strconv.Itoa(os.Getpid())},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.ParseIP(host)},
	}
	parent := c.authority
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, c.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, c.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
