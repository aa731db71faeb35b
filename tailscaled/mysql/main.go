// A server that speaks MySQL's protocol, for drivers to be tried with: Vitess's listener, which authenticates by
// mysql_native_password and takes all comers, before the few statements that tell a client what connection it has.
//
//	mysql -address host:port [-certificate file -key file]
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"log"
	"os"
	"strings"

	"github.com/dolthub/vitess/go/mysql"
	"github.com/dolthub/vitess/go/sqltypes"
	querypb "github.com/dolthub/vitess/go/vt/proto/query"
	"github.com/dolthub/vitess/go/vt/sqlparser"
)

func main() {
	// Not the default flags, among which are Vitess's own.
	flags := flag.NewFlagSet("mysql", flag.ExitOnError)
	address := flags.String("address", "", "where to listen, as `host:port`")
	certificate := flags.String("certificate", "", "PEM `file` of the certificate to offer TLS with; default: no TLS")
	key := flags.String("key", "", "PEM `file` of the certificate's key")
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	listener, err := mysql.NewListener("tcp", *address, mysql.NewAuthServerNone(), handler{}, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			log.Fatal(err)
		}
		listener.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	log.Printf("listening on %s", listener.Addr())
	listener.Accept()
}

// handler answers what drivers say when they connect, and what tells a client of its connection.
type handler struct{}

var _ mysql.Handler = handler{}

func (handler) ComQuery(_ context.Context, c *mysql.Conn, query string, respond mysql.ResultSpoolFn) error {
	statement := strings.ToLower(strings.TrimRight(strings.TrimSpace(query), ";"))
	switch {
	case statement == "select connection_id()":
		return respond(row("connection_id()", sqltypes.NewUint32(c.ConnectionID)), false)
	case statement == "select @@version":
		return respond(row("@@version", sqltypes.NewVarChar(mysql.DefaultServerVersion)), false)
	case statement == "show session status like 'ssl_version'":
		return respond(row("Value", sqltypes.NewVarChar(tlsVersion(c))), false)
	case strings.HasPrefix(statement, "set "):
		return respond(&sqltypes.Result{}, false)
	default:
		return unsupported("this server does not know the statement: %s", query)
	}
}

// ComMultiQuery takes the whole text for one statement.
func (h handler) ComMultiQuery(ctx context.Context, c *mysql.Conn, query string, respond mysql.ResultSpoolFn) (string, error) {
	return "", h.ComQuery(ctx, c, query, respond)
}

func (handler) ComPrepare(context.Context, *mysql.Conn, string, *mysql.PrepareData) ([]*querypb.Field, error) {
	return nil, unsupported("this server prepares no statements")
}

func (handler) ComStmtExecute(context.Context, *mysql.Conn, *mysql.PrepareData, func(*sqltypes.Result) error) error {
	return unsupported("this server prepares no statements")
}

func (handler) ParserOptionsForConnection(*mysql.Conn) (sqlparser.ParserOptions, error) {
	return sqlparser.ParserOptions{}, nil
}

func (handler) NewConnection(*mysql.Conn)                   {}
func (handler) ConnectionClosed(*mysql.Conn)                {}
func (handler) ConnectionAborted(*mysql.Conn, string) error { return nil }
func (handler) ComInitDB(*mysql.Conn, string) error         { return nil }
func (handler) ComResetConnection(*mysql.Conn) error        { return nil }
func (handler) WarningCount(*mysql.Conn) uint16             { return 0 }

func row(column string, value sqltypes.Value) *sqltypes.Result {
	return &sqltypes.Result{
		Fields: []*querypb.Field{{Name: column, Type: value.Type(), Charset: mysql.CharacterSetUtf8mb4}},
		Rows:   [][]sqltypes.Value{{value}},
	}
}

// tlsVersion is what MySQL says of a connection: "TLSv1.3", or nothing where it is not encrypted.
func tlsVersion(c *mysql.Conn) string {
	encrypted, ok := c.Conn.(*tls.Conn)
	if !ok {
		return ""
	}
	return strings.Replace(tls.VersionName(encrypted.ConnectionState().Version), " ", "v", 1)
}

func unsupported(format string, words ...any) error {
	return mysql.NewSQLError(mysql.ERNotSupportedYet, mysql.SSClientError, format, words...)
}
