import Server
import Wire

extension TestClient {
  /// Answers the server's wish for SCRAM; returns the last message that came.
  func scram(_ password: String) throws -> String? {
    var client = ScramClient(password: password, nonce: Array(repeating: 9, count: 18), crypto: OpenSSLScram())
    _ = say(awaitsReady: false) { $0.saslInitial(mechanism: "SCRAM-SHA-256", client.first()) }
    let answer = try client.proof(challenge)
    return say(awaitsReady: false) { $0.saslResponse(answer) }.last
  }
}
