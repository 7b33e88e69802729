import Testing
import Wire

@Suite struct ScramTests {
  let crypto = TestCrypto()

  /// The exchange that RFC 7677 §3 prints.
  @Test func publishedExchange() throws {
    let verifier = try #require(
      ScramVerifier(
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
          + "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="))
    let computed = ScramVerifier(password: "pencil", salt: verifier.salt, crypto: crypto)
    #expect(computed == verifier)
    #expect(computed.text == verifier.text)
    #expect(computed.accepts("pencil", crypto: crypto))
    #expect(!computed.accepts("pencils", crypto: crypto))

    var server = ScramServer(
      verifier: verifier, printableNonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", crypto: crypto)
    let first = try server.first(Array("n,,n=user,r=rOprNGfwEbeRWgbNEkqO".utf8))
    let nonce = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    #expect(String(decoding: first, as: UTF8.self) == "\(nonce),s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    let outcome = try server.last(Array("c=biws,\(nonce),p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".utf8))
    #expect(outcome == .accepted(Array("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".utf8)))
  }

  private func exchange(_ verifier: ScramVerifier, password: String) throws -> ScramServer.Outcome {
    var server = ScramServer(verifier: verifier, nonce: Array(1...18), crypto: crypto)
    var client = ScramClient(password: password, nonce: Array(101...118), crypto: crypto)
    let proof = try client.proof(try server.first(client.first()))
    let outcome = try server.last(proof)
    if case .accepted(let signature) = outcome {
      #expect(!client.isDone)
      try client.verify(signature)
      #expect(client.isDone)
    }
    return outcome
  }

  @Test func theRightPasswordAndNoOther() throws {
    let verifier = ScramVerifier(password: "pässwort", salt: Array(1...16), iterations: 100, crypto: crypto)
    guard case .accepted = try exchange(verifier, password: "pässwort") else {
      Issue.record("refused")
      return
    }
    #expect(try exchange(verifier, password: "passwort") == .rejected)
  }

  /// Which certificate each side sees, and what comes of it; none where there is no TLS.
  @Test func aBoundExchangeFailsWhereSomebodyStandsBetween() throws {
    let verifier = ScramVerifier(password: "x", salt: [1], iterations: 1, crypto: crypto)
    func succeeds(_ sees: ScramClient.Binding, _ shows: [UInt8]?, choosing mechanism: String? = nil) throws -> Bool {
      var server = ScramServer(verifier: verifier, nonce: Array(1...18), binding: shows, crypto: crypto)
      var client = ScramClient(password: "x", nonce: Array(101...118), binding: sees, crypto: crypto)
      do throws(WireError) {
        try server.choose(mechanism ?? client.mechanism)
        guard case .accepted(let signature) = try server.last(try client.proof(try server.first(client.first()))) else {
          return false
        }
        try client.verify(signature)
        return true
      } catch { return false }
    }
    let hash: [UInt8] = Array(1...32)
    #expect(try succeeds(.certificate(hash), hash))
    #expect(try succeeds(.none, hash))
    #expect(try succeeds(.none, nil))
    #expect(try succeeds(.notOffered, nil))
    // Another certificate; an offer that somebody took away; a choice that was not offered, or is not what it says.
    #expect(try !succeeds(.certificate(Array(2...33)), hash))
    #expect(try !succeeds(.certificate([]), hash))
    #expect(try !succeeds(.notOffered, hash))
    #expect(try !succeeds(.certificate(hash), nil))
    #expect(try !succeeds(.certificate(hash), hash, choosing: "SCRAM-SHA-256"))
    #expect(try !succeeds(.none, hash, choosing: "SCRAM-SHA-256-PLUS"))
  }

  @Test func strangersLookAlikeAndFail() throws {
    let secret: [UInt8] = Array(1...32)
    let dummy = ScramVerifier(dummyFor: "nobody", secret: secret, crypto: crypto)
    #expect(dummy.salt == ScramVerifier(dummyFor: "nobody", secret: secret, crypto: crypto).salt)
    #expect(dummy.salt != ScramVerifier(dummyFor: "somebody", secret: secret, crypto: crypto).salt)
    #expect(dummy.salt.count == 16 && dummy.iterations == ScramVerifier.defaultIterations)
    #expect(try exchange(dummy, password: "anything") == .rejected)
    #expect(!dummy.accepts("anything", crypto: crypto))
  }

  @Test(arguments: [
    "", "n", "n,", "n,,", "p=tls-server-end-point,,n=,r=abc", "n,a=admin,n=,r=abc", "n,,m=ext,n=,r=abc", "n,,n=",
    "n,,n=,r=",
    "n,,n=,r=a\u{1}b", "x,,n=,r=abc", "n,,r=abc,n=",
  ])
  func malformedFirstMessages(_ text: String) {
    var server = ScramServer(
      verifier: ScramVerifier(dummyFor: "a", secret: [1], crypto: crypto), nonce: [1, 2, 3], crypto: crypto)
    #expect(throws: WireError.self) { try server.first(Array(text.utf8)) }
  }

  @Test func lastMessagesThatDoNotFit() throws {
    let verifier = ScramVerifier(password: "x", salt: [1], iterations: 1, crypto: crypto)
    for change in [("biws", "eSws"), ("r=", "r=z"), ("p=", "q="), ("p=", "p=A")] {
      var server = ScramServer(verifier: verifier, nonce: Array(1...18), crypto: crypto)
      var client = ScramClient(password: "x", nonce: Array(101...118), crypto: crypto)
      let proof = String(decoding: try client.proof(try server.first(client.first())), as: UTF8.self)
      let changed = proof.split(separator: change.0, maxSplits: 1, omittingEmptySubsequences: false)
        .joined(separator: change.1)
      #expect(throws: WireError.self) { try server.last(Array(changed.utf8)) }
    }
  }

  @Test func clientsDoNotBelieveWrongServers() throws {
    func waiting() throws -> ScramClient {
      var client = ScramClient(password: "x", printableNonce: "abc", crypto: crypto)
      _ = client.first()
      return client
    }
    for text in [
      "r=abd123,s=AAAA,i=1", "r=abc,s=AAAA,i=1", "r=abcd,s=,i=1", "r=abcd,s=A,i=1", "r=abcd,s=AAAA,i=0",
      "r=abcd,s=AAAA,i=99999999999", "", "e=other-error",
    ] {
      var client = try waiting()
      #expect(throws: WireError.self) { try client.proof(Array(text.utf8)) }
    }
    var client = try waiting()
    _ = try client.proof(Array("r=abcd,s=AAAA,i=1".utf8))
    #expect(throws: WireError.self) { try client.verify(Array("v=AAAA".utf8)) }
    #expect(!client.isDone)
  }

  @Test(arguments: [
    "", "md5abc", "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA", "SCRAM-SHA-256$0:AAAA$", "SCRAM-SHA-256$x:A$B:C",
  ])
  func whatIsNoVerifier(_ text: String) { #expect(ScramVerifier(text) == nil) }
}
