// TLS on a connection.
extension StreamConnection {
  /// Starts TLS: what is received from now on is ciphertext, `secured` follows the handshake, and `received` clear bytes.
  /// Nothing may be sent between this call and `secured`.
  ///
  /// - Parameters:
  ///   - serverName: what a client connects to.
  ///   - received: ciphertext that has come already, behind the bytes that asked for TLS. A server of PostgreSQL's protocol
  ///     must refuse bytes there instead, unless they are what began the connection: somebody may have put them in.
  package func startTLS(_ context: TLSContext, serverName: String? = nil, received: [UInt8] = []) {
    precondition(session == nil, "TLS has begun already")
    guard phase == .open else { return }
    do throws(TLSError) {
      let fresh = try context.makeSession(serverName: serverName)
      session = fresh
      earlyInput = received
      if !fresh.isServer, let failure = fresh.begin() { throw failure }
      flush()
    } catch {
      end(.tls(error))
    }
  }

  /// What `startTLS` was given, once the handler that gave it has returned.
  func receiveEarlyInput(_ thread: LoopThread) {
    guard let session, phase == .open else { return }
    let bytes = earlyInput
    earlyInput = []
    unsafe bytes.withUnsafeBytes { all in
      var rest = unsafe all[...]
      while unsafe !rest.isEmpty, phase == .open {
        let piece = unsafe rest.prefix(LoopThread.scratchBytes)
        unsafe rest = unsafe rest.dropFirst(piece.count)
        unsafe deliverEncrypted(UnsafeRawBufferPointer(rebasing: piece), session, thread)
      }
    }
  }

  func deliverEncrypted(_ bytes: UnsafeRawBufferPointer, _ session: TLSSession, _ thread: LoopThread) {
    let wasEstablished = session.isEstablished
    let clear = unsafe thread.clear
    let progress = unsafe session.receive(bytes, into: clear)
    // The handshake's next step, an answer to a change of keys, or the alert that says what was wrong.
    flush()
    switch progress {
    case .failed(let failure): return end(.tls(failure))
    case .clear(let count), .ended(let count):
      if !wasEstablished, session.isEstablished { handler?.secured(self) }
      if count > 0 && phase == .open {
        unsafe handler?.received(UnsafeRawBufferPointer(rebasing: clear[..<count]).bytes, self)
      }
    }
    if case .ended = progress { endInput() }
  }
}
