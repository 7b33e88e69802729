/// How many columns of a terminal `text` takes: combining marks none, East Asian wide characters and emoji two
/// (Unicode Standard Annex 11), control characters as they are shown by `displayable`.
package func displayWidth(_ text: String) -> Int {
  var ascii = true
  var count = 0
  for byte in text.utf8 {
    if byte >= 0x80 {
      ascii = false
      break
    }
    count += 1
  }
  if ascii { return count }
  return text.unicodeScalars.reduce(0) { $0 + displayWidth($1) }
}

package func displayWidth(_ scalar: Unicode.Scalar) -> Int {
  switch scalar.value {
  case 0..<0x300: return 1
  case 0x300...0x36F, 0x200B...0x200F, 0xFE00...0xFE0F, 0x1F3FB...0x1F3FF, 0xE0100...0xE01EF: return 0
  case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
    0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE4F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F,
    0x1F680...0x1F6FF, 0x1F900...0x1FAFF, 0x20000...0x3FFFD:
    return 2
  default:
    switch scalar.properties.generalCategory {
    case .nonspacingMark, .enclosingMark, .format: return 0
    default: return 1
    }
  }
}

/// `text` on one line and harmless to a terminal: control characters are shown as escapes.
package func displayable(_ text: String) -> String {
  guard text.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }) else {
    return text
  }
  var shown = ""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\n": shown += "\\n"
    case "\r": shown += "\\r"
    case "\t": shown += "\\t"
    case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value):
      let hex = String(scalar.value, radix: 16)
      shown += "\\x" + (hex.count < 2 ? "0" : "") + hex
    default: shown.unicodeScalars.append(scalar)
    }
  }
  return shown
}

/// The longest start of `text` that takes at most `width` columns.
package func cut(_ text: String, toWidth width: Int) -> String {
  var used = 0
  var kept = String.UnicodeScalarView()
  for scalar in text.unicodeScalars {
    used += displayWidth(scalar)
    if used > width { break }
    kept.append(scalar)
  }
  return String(kept)
}
