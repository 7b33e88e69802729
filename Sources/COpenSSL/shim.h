#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <openssl/pem.h>
#include <openssl/bio.h>
#include <stdlib.h>
#include <string.h>

// ---- OpenSSL's macros, and a BIO over memory that we own -------------------------------------------

/// What a TLS session reads from and writes to: ciphertext that has come (not owned, valid during a call), and ciphertext
/// to be sent (malloc).
typedef struct {
  const unsigned char *in;
  size_t in_count;
  unsigned char *out;
  size_t out_start, out_end, out_capacity;
} synod_tls_channel;

static int synod_channel_read(BIO *bio, char *bytes, int count) {
  synod_tls_channel *channel = (synod_tls_channel *)BIO_get_data(bio);
  BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
  if (count <= 0) return 0;
  if (channel->in_count == 0) {
    BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
    return -1;
  }
  size_t some = channel->in_count < (size_t)count ? channel->in_count : (size_t)count;
  memcpy(bytes, channel->in, some);
  channel->in += some;
  channel->in_count -= some;
  return (int)some;
}

static int synod_channel_write(BIO *bio, const char *bytes, int count) {
  synod_tls_channel *channel = (synod_tls_channel *)BIO_get_data(bio);
  BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
  if (count <= 0) return 0;
  if (channel->out_capacity - channel->out_end < (size_t)count) {
    size_t live = channel->out_end - channel->out_start, wanted = channel->out_capacity * 2;
    if (wanted < live + (size_t)count) wanted = live + (size_t)count;
    if (wanted < 1024) wanted = 1024;
    unsigned char *fresh = (unsigned char *)malloc(wanted);
    if (!fresh) return -1;
    if (live) memcpy(fresh, channel->out + channel->out_start, live);
    free(channel->out);
    channel->out = fresh;
    channel->out_capacity = wanted;
    channel->out_start = 0;
    channel->out_end = live;
  }
  memcpy(channel->out + channel->out_end, bytes, (size_t)count);
  channel->out_end += (size_t)count;
  return count;
}

static long synod_channel_control(BIO *bio, int command, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

/// The method of such BIOs; made once, kept for ever. NULL when there is no memory.
static inline BIO_METHOD *synod_channel_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "synod channel");
  if (!method) return NULL;
  BIO_meth_set_read(method, synod_channel_read);
  BIO_meth_set_write(method, synod_channel_write);
  BIO_meth_set_ctrl(method, synod_channel_control);
  return method;
}

/// Gives the session the channel; 1 on success. The channel must outlive the session.
static inline int synod_tls_attach(SSL *session, BIO_METHOD *method, synod_tls_channel *channel) {
  BIO *bio = BIO_new(method);
  if (!bio) return 0;
  BIO_set_data(bio, channel);
  BIO_set_init(bio, 1);
  SSL_set_bio(session, bio, bio);
  return 1;
}

static inline void synod_tls_consume(synod_tls_channel *channel, size_t count) {
  channel->out_start += count;
  if (channel->out_start < channel->out_end) return;
  free(channel->out);
  channel->out = NULL;
  channel->out_start = channel->out_end = channel->out_capacity = 0;
}

/// A client that names protocols (ALPN) must name ours: it may be a browser that somebody sent here.
static int synod_tls_select_protocol(SSL *session, const unsigned char **chosen, unsigned char *count,
                                     const unsigned char *offered, unsigned int offered_count, void *context) {
  (void)session, (void)context;
  static const unsigned char ours[] = "\x0apostgresql";
  for (unsigned int at = 0; at < offered_count; at += offered[at] + 1u) {
    if (offered[at] != ours[0] || offered_count - at <= ours[0] || memcmp(offered + at + 1, ours + 1, ours[0]) != 0) continue;
    *chosen = offered + at + 1;
    *count = ours[0];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/// What every context of ours has: the lowest version, no renegotiation, no compression, no tickets or cached sessions, and
/// buffers that are given back when a connection is idle.
static inline int synod_tls_configure(SSL_CTX *context, int allows_tls12) {
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_alpn_select_cb(context, synod_tls_select_protocol, NULL);
  if (!SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20")) return 0;
  return SSL_CTX_set_min_proto_version(context, allows_tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
}

static inline int synod_tls_add_chain(SSL_CTX *context, X509 *certificate) {
  return SSL_CTX_add1_chain_cert(context, certificate);
}

static inline int synod_tls_set_server_name(SSL *session, const char *name) {
  return SSL_set_tlsext_host_name(session, name);
}

/// The name or address that the peer's certificate must carry; 1 on success.
static inline int synod_tls_expect_host(SSL *session, const char *name) {
  X509_VERIFY_PARAM *parameters = SSL_get0_param(session);
  if (X509_VERIFY_PARAM_set1_ip_asc(parameters, name)) return 1;
  ERR_clear_error();
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return X509_VERIFY_PARAM_set1_host(parameters, name, 0);
}

static inline const char *synod_tls_verify_reason(long code) { return X509_verify_cert_error_string(code); }

/// The count of the certificate's alternative names of one type (GEN_DNS 2, GEN_IPADD 7), and one of them.
static inline int synod_x509_name_count(GENERAL_NAMES *names) { return names ? sk_GENERAL_NAME_num(names) : 0; }
static inline GENERAL_NAMES *synod_x509_names(X509 *certificate) {
  return (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
}
static inline int synod_x509_name_at(GENERAL_NAMES *names, int index, const unsigned char **bytes, int *count) {
  GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);
  if (name->type != GEN_DNS && name->type != GEN_IPADD) return 0;
  const ASN1_STRING *string = name->type == GEN_DNS ? name->d.dNSName : name->d.iPAddress;
  *bytes = ASN1_STRING_get0_data(string);
  *count = ASN1_STRING_length(string);
  return name->type;
}
static inline void synod_x509_names_free(GENERAL_NAMES *names) { GENERAL_NAMES_free(names); }
/// The digest that the certificate's signature uses, as tls-server-end-point takes it: MD5 and SHA-1 count as SHA-256.
static inline const EVP_MD *synod_x509_signature_digest(const X509 *certificate) {
  int digest = NID_undef;
  if (!OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &digest, NULL)) return EVP_sha256();
  if (digest == NID_md5 || digest == NID_sha1 || digest == NID_undef) return EVP_sha256();
  const EVP_MD *found = EVP_get_digestbynid(digest);
  return found ? found : EVP_sha256();
}
static inline EVP_PKEY *synod_p256_key(void) { return EVP_EC_gen("P-256"); }
static inline long synod_bio_bytes(BIO *bio, char **bytes) { return BIO_get_mem_data(bio, bytes); }
static inline const char *synod_tls_cipher(const SSL *session) { return SSL_CIPHER_get_name(SSL_get_current_cipher(session)); }
/// The subject or issuer on one line, as RFC 2253 writes it.
static inline int synod_x509_print_name(BIO *bio, const X509_NAME *name) {
  return X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0;
}
/// A serial number of 159 random bits, as RFC 5280 asks for one that nobody guesses; 1 on success.
static inline int synod_x509_random_serial(X509 *certificate) {
  BIGNUM *number = BN_new();
  int done = number && BN_rand(number, 159, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
             BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
  BN_free(number);
  return done;
}
