// Every word that the page says, in every language. English is complete; the others are checked against it.
//
// `{name}` stands for a parameter. A text that counts has a form for each plural category of its language.

import { computed } from "../ui/view.mjs";
import { safeName, safeText, textOf } from "./text.mjs";
import { stored } from "./theme.mjs";

/** @typedef {string | {one: string, other: string}} Text */

export const en = {
  // The frame.
  skip: "Skip to the content", navigation: "Pages", loading: "Loading …", back: "Back", close: "Close", cancel: "Cancel", save: "Save", copy: "Copy", copied: "Copied", reload: "Load again",
  "nav.rooms": "Messages", "nav.people": "People", "nav.mailboxes": "Mailboxes", "nav.health": "Health", "nav.settings": "Settings",
  reconnecting: "Petmail is not running on this computer, or is restarting. This page goes on by itself as soon as it is back.",
  unreachable: "Petmail does not answer.", unreachableHint: "Is it running? Start it from the menu, or with “petmail-node start”; this page then goes on by itself.",
  expired: "This page is closed", expiredWhy: "Its address works once, and only for a minute, so that nobody else can use it. Or Petmail has been given a new key since.",
  expiredHow: "Open Petmail again from your computer's menu, or with this command:",
  locked: "Petmail is locked", lockedHow: "Your messages are encrypted on this computer. Type the passphrase to open them; until then nothing is sent or fetched.", unlock: "Open", unlocking: "Opening …",
  unreadCount: { one: "{count} unread message", other: "{count} unread messages" }, problemCount: { one: "{count} thing to do", other: "{count} things to do" },
  noName: "(no name)", you: "You", somebody: "Somebody", nothing: "nothing",
  // Conversations.
  search: "Search", searching: "Searching …", found: "What was found", foundCount: { one: "{count} message", other: "{count} messages" },
  noRooms: "No conversations yet. Add somebody with the + above.", draft: "Draft:", pendingContact: "Waiting for them", nothingWritten: "Nothing written yet", notUnderstood: "(not understood by this version)",
  notUnderstoodLong: "This message has something in it that this version of Petmail does not understand. A newer one may.",
  welcome: "Welcome to Petmail", welcomeText: "Three things, and you can write to people you know:", chooseRoom: "Choose a conversation.",
  "step.name": "Say what you are called", "step.mailbox": "Get a mailbox, so that messages can reach you", "step.contact": "Add somebody you know", "step.restore": "You had Petmail before, and have a backup?", restoreHow: "How to restore it",
  conversationWith: "Conversation with {name}", details: "Details", messages: "Messages", nothingWrittenYet: "Nothing has been written here yet.", loadingOlder: "Loading earlier messages …", toEnd: "Newest", noSuchContact: "There is no such contact any more.",
  youWrote: "You wrote", theyWrote: "{name} wrote", reply: "Reply", replyingTo: "Reply to", noReply: "Do not reply to it", answeredGone: "The message that this answers is not here any more.", showAll: "Show all of it",
  "state.waiting": "waiting", "state.sent": "sent", "state.delivered": "delivered", "state.read": "read", "state.failed": "not sent", "state.received": "",
  sendAgain: "Send again", tryNow: "Try now", cancelMessage: "Do not send", write: "Write a message", send: "Send", emoji: "Emoji", newMessage: "New message",
  enterSends: "Enter sends, Shift+Enter starts a new line.", waitsForMailbox: "They have no mailbox yet: what you write is sent as soon as they have one.", notSentWhileAway: "Petmail is away: nothing can be sent just now. What you write stays here.",
  tooLong: { one: "The message is {count} byte too long.", other: "The message is {count} bytes too long. Send it in several parts." },
  attach: "Attach files", filesToSend: "Files to send", removeFile: "Do not send {name}", dropHere: "Drop files here to send them", attachFolder: "Attach a folder", unreadableFolder: "The browser cannot read this folder.", tooMuchInFolder: "There are more than 200,000 files in it.",
  "file.uploading": "being sent", "file.fetching": "being fetched", "file.paused": "paused", "file.failed": "stopped", "file.stored": "not fetched yet", "file.fetched": "fetched", "file.offered": "on its storage server", "file.gone": "no longer on its storage server",
  pause: "Pause", goOn: "Go on", cancelFile: "Cancel", actOnFile: "{act}: {name}", progressOf: "Progress of {name}", filesOnTheirWay: "Files on their way", timeLeft: "{time} left", seconds: { one: "{count} second", other: "{count} seconds" }, minutes: { one: "{count} minute", other: "{count} minutes" }, hours: { one: "{count} hour", other: "{count} hours" },
  fetch: "Fetch", fetchNamed: "Fetch {name}", revoke: "Take back", revokeNamed: "Take back: {name}", savedAt: "Saved as", keptUntil: "kept until {when}", filesIn: { one: "{count} file", other: "{count} files" },
  fetchLimit: "Files from them", fetchLimitHint: "What is fetched goes to your folder for downloads.", upTo: "Fetch up to {size} by itself", onlyWhenAsked: "Fetch when I say so", storage: "Storage", storageWhat: "Files too large for a message wait here, encrypted, until they are fetched.", serviceForContacts: "Your own service: large files go there when no server has room, and can be fetched for seven days.", serviceForYou: "Your own service, for you alone: others cannot fetch from there.",
  fileNamed: "📎 {name}", saveFile: "Save {name}", pictureNamed: "Picture: {name}",
  blockedCannotWrite: "You have blocked them. Unblock them to write.", disputedCannotWrite: "Nothing is sent to them until it is clear that it is really them: look at their page.",
  // People.
  addContact: "Add somebody", addHow: "One of you makes a code and tells it to the other, best by voice. The other enters it. That is all.",
  makeCode: "Make a code", makeCodeHint: "You tell it to them.", enterCode: "Enter a code", enterCodeHint: "They have told you one.", makingCode: "Making a code …", makeNewCode: "Make a new code",
  theirName: "What do you call them?", theirNameHint: "Only you see this name. You can change it later.", connect: "Connect", connecting: "Connecting", code: "The code that they told you", codeHint: "A number and some words. Capitals, spaces and hyphens do not matter.",
  completions: "Words that fit", unknownWord: "“{word}” is not a word that codes are made of. Did you mean:", noSuchWord: "Ask them to spell it.", asItIs: "They made this code up themselves: use it as it is", givesMeMailbox: "They give me a mailbox, too",
  tellCode: "Tell them this code", tellCodeTo: "Tell {name} this code, best by voice. It works once.", tellCodeToThem: "Tell them this code, best by voice. It works once.", copyCode: "Copy the code", qr: "The code as a QR code", expires: "It ends {when} if nobody uses it.",
  cancelInvitation: "Cancel the invitation", dismiss: "I have seen it", invitations: "Invitations", searchPeople: "Search people", nobodyYet: "Nobody yet. Add somebody you know.",
  "invitation.waiting": "Waiting for the other side", "invitation.exchanging": "The other side is there; exchanging keys", "invitation.pending": "Almost done: waiting for the first message", "invitation.confirmed": "Done: you have each other", "invitation.failed": "It did not work", "invitation.expired": "Nobody answered in time", "invitation.cancelled": "Cancelled",
  "contact.pending": "Not confirmed yet", "contact.confirmed": "Connected", "contact.verified": "Verified", "contact.blocked": "Blocked", "contact.disputed": "Is it really them?",
  writeTo: "Write to {name}", callsThemselves: "They call themselves", contactSince: "In your address book since {when}", lastHeard: "Last heard of {when}", yourNameForThem: "Your name for them", onlyYouSee: "Only you see it.",
  safetyWords: "Safety words", safetyDigits: "Safety digits", wordsWhy: "If these words are the same on both sides, nobody sits between you. Compare them by voice.", wordsCompared: "You have compared them: nobody sits between you.", compareWords: "Compare the safety words",
  compareHow: "Call {name}, or meet. Each of you opens this page for the other, and one reads the words aloud. Are they the same, in the same order?", theyMatch: "They are the same", theyDiffer: "They differ",
  wordsDiffer: "Then somebody may be sitting between you, or you are looking at different contacts. Tell {name} nothing secret here. Remove this contact on both sides, and add each other again with a new code.",
  reachedAt: "Where your messages to them go", keepsDays: { one: "keeps messages for {count} day", other: "keeps messages for {count} days" }, reachable: "To their mailbox.", notReachable: "They have told of no mailbox yet.",
  careful: "With care", block: "Block", unblock: "Unblock", remove: "Remove", resetKeys: "New keys", blockTitle: "Block {name}?", blockText: "Nothing they send is taken in any more, and they are not told. You can undo this.",
  resetTitle: "New keys for {name}?", resetText: "Do this if somebody may have copied your keys. Contacts get new ones by themselves; then compare the safety digits again, and make a new backup.",
  removeTitle: "Remove {name}?", removeText: "All messages with them are deleted from this computer, and what waits is not sent. This cannot be undone.", accept: "Accept", offersMailbox: "A mailbox is offered to you", offersMailboxText: "{name} gives you room at this server: messages wait there, encrypted, until your computer fetches them.",
  // Mailboxes.
  mailboxesWhat: "Messages for you wait, encrypted, in a mailbox until this computer fetches them. Who runs it cannot read them and is not told who wrote.",
  noMailbox: "You can write, but nobody can write to you.", noMailboxHow: "Get a mailbox: ask somebody who runs a mailbox server for an offer or a code, and paste it below.",
  onlyLocal: "Your only mailbox is this computer.", onlyLocalHow: "Messages reach you only while it is on. Get a second mailbox on a server that is always on: ask somebody for an offer or a code, and paste it below.",
  localMailbox: "On this computer", "mailbox.connected": "Connected", "mailbox.away": "Not connected", "mailbox.leaving": "Being left; what is on its way is taken in until", "mailbox.suspended": "Suspended by who runs it", "mailbox.refused": "The offer was refused", "mailbox.redeeming": "Being set up",
  quota: "Room for {quota}", filesAlone: "For files alone: nobody can write to you there.", usedOf: "{used} of {quota} used", used: "Used", operatorSays: "Who runs it says:", removeMailbox: "Leave this mailbox?", removeMailboxText: "Your contacts are told to write elsewhere. What is on its way there is still taken in for as long as the server keeps it.",
  addMailbox: "Add a mailbox", offerOrCode: "Offer or code", offerHint: "An offer begins with PETMAIL-OFFER:, a code with a number.", readQr: "Read a QR code from a picture …", noQr: "There is no QR code in this picture.", asking: "Asking the server …",
  giveMailbox: "Give somebody a mailbox", givenOf: "{given} of {total} given away.", quotaInMb: "Room in MB", daysKept: "Days that messages are kept", customers: "Mailboxes that you gave",
  // Health.
  allIsWell: "All is well", thingsToDo: "What there is to do", outbox: "{waiting} waiting, {sent} on their way, {delivered} delivered.", getMailbox: "Get a mailbox", lookAtThem: "Look at the conversation", lookAtContact: "Look at the contact", lookAtMailboxes: "Look at the mailboxes", lookAtInvitations: "Look at the invitations",
  doctor: "Examine everything", doctorText: "Asks every server, and looks at the clock, the disk and the database. It takes some seconds.", examine: "Examine", examining: "Examining …", "check.ok": "fine", "check.warning": "look at it", "check.problem": "does not work",
  backup: "Backup", backupText: "One encrypted file with all that Petmail needs to live on elsewhere. Keep it on another disk.", backupPassphrase: "Passphrase of the backup", passphraseHint: "Several words that you will not forget. Without it the backup is worthless.", weak: "Short ones can be guessed by whoever finds the file. Take several words.",
  onceMore: "Once more", passphrasesDiffer: "The two differ.", backupDone: "Saved. Put the file in a safe place.", saveBackup: "Save a backup", saving: "Saving …",
  restore: "Restore a backup", restoreText: "A backup becomes a new Petmail, here or on another computer. Stop the old one for good first: two copies would take each other's messages.", backupFile: "File of the backup", restoring: "Restoring …", restoreDone: "Everything is back. Stop the old Petmail for good, if it still runs anywhere.", restoreElsewhere: "This Petmail has people or a mailbox already, which a backup would replace. Restore it into another folder:",
  passphrase: "Passphrase", passphraseText: "With a passphrase nobody can read your messages who finds or copies this computer's disk. Petmail asks for it at each start.", newPassphrase: "New passphrase", presentPassphrase: "Passphrase that holds now", passphraseLost: "Several words. Whoever forgets them has lost this Petmail: nobody can open it. Keep a backup.", setPassphrase: "Set a passphrase", changePassphrase: "Change the passphrase", removePassphrase: "Remove the passphrase",
  encrypting: "Working, some seconds …", passphraseHolds: "The new passphrase holds.", passphraseGone: "Petmail has no passphrase any more.",
  panic: "Somebody may have copied my keys", panicText: "All contacts and mailboxes get new keys, and a stolen copy is worth nothing any more. Nobody has to be added again.", resetAll: "Replace all keys",
  resetDone: { one: "{count} contact is being told.", other: "{count} contacts are being told." }, resetSkipped: { one: "{count} could not be.", other: "{count} could not be." },
  // Settings.
  profile: "You", profileHint: "What people see whom you know.", displayName: "Your name", yourPicture: "Your picture", removePicture: "Remove the picture", noPicture: "This is no picture that can be read.", noPictureHint: "Take one in PNG, JPEG or WebP.", privacy: "Privacy",
  readReceipts: "Tell contacts what I have read", readReceiptsHint: "They see “read” at their messages.", highPrivacy: "Say less about when I am here", highPrivacyHint: "Confirmations are delayed by up to a minute.", copiesEverywhere: "Use all of a contact's mailboxes at once", copiesEverywhereHint: "Else the first that works is used.",
  thisBrowser: "This browser", theme: "Looks", "theme.system": "As the computer", "theme.light": "Light", "theme.dark": "Dark", language: "Language", notifications: "Notifications", "notify.off": "None", "notify.name": "Who wrote", "notify.text": "Who wrote, and what", notifyRefused: "The browser does not allow it. Look into its settings for this page.",
  about: "About", version: "Version", folder: "Folder", rendezvous: "Rendezvous server",
  // Reasons, by the codes of the API. `{detail}` is what a server or the system said, in its own words.
  "reason.contact-blocked": "You have blocked them: nothing is taken in from them or sent to them.",
  "reason.contact-disputed": "Two parties claim to be {name}: one may have stolen keys. Compare the safety digits in person. If they agree, say so; else remove the contact, and add each other anew.",
  "reason.no-own-mailbox": "They cannot write to you before you have a mailbox.", "reason.first-message": "Waiting for their first message. Both computers have to be on.", "reason.no-mailbox-there": "They have no mailbox yet: what you write waits here until they have one.",
  "reason.own-keys-replaced": "Your keys were replaced; they do not have the new ones yet.", "reason.their-keys-replaced": "They replaced their keys on {detail}. Compare the safety digits.",
  "reason.tell-code": "Tell the code to the other person. It works once.", "reason.exchanging": "This takes a moment while both are online.", "reason.nobody-answered": "Make a new code, and tell it to them when they are there.",
  "reason.invitation-failed": "{detail}",
  "reason.cancelled": "You decided not to send it.", "reason.not-fetched": "Their computer has not fetched it for 60 days.", "reason.held-back": "Earlier messages have to be fetched first; it follows by itself.", "reason.delivery-trouble": "It is tried again by itself. {detail}", "reason.on-its-way": "On its way to their mailbox.",
  "reason.offer-refused": "{detail} Remove it and ask for another offer.", "reason.not-redeemed": "The server could not be asked yet: {detail}", "reason.redeeming": "The server is being asked.", "reason.connecting": "Connecting …", "reason.mailbox-trouble": "{detail} It is tried again by itself.",
  "reason.no-storage": "You have no storage for files of this size. Ask whoever gave you a mailbox for some, or add a service of your own: petmail-node storage add s3. Then go on.", "reason.storage-full": "The storage is full: {detail} Take back files that are no longer needed, or ask its operator for more. Then go on.", "reason.storage-refused": "The storage refuses: {detail}",
  "reason.changed-on-the-way": "What arrives at the storage is not what was sent; something in between changes it. Try another network: {detail}", "reason.file-gone": "It is not on its storage server any more: its sender has taken it back, or its time is over. Ask them to send it again.",
  "reason.file-damaged": "The storage server returned something else than was stored there; nothing of that was saved. Go on, or ask the sender to send it again.", "reason.file-unannounced": "What is stored is not what the message has announced; nothing was saved. Ask the sender.",
  "reason.file-unreadable": "It cannot be read: {detail}", "reason.file-unwritable": "It cannot be saved: {detail}", "reason.no-room": "There is no room on the disk: {detail} Make room, then go on.", "reason.name-taken": "There is something of that name already: {detail} Save it elsewhere.",
  "reason.sender-asked": "It is not where it was any more. Its sender’s computer was asked where it is now, and answers when it is on.", "reason.transfer-waits": "It goes on by itself: {detail}", "reason.transfer-trouble": "{detail}", "reason.left-out": "Links, pipes and devices are left out: {detail}",
  // What there is to do, by the codes of the API.
  "issue.no-mailbox": "Nobody can write to you, because you have no mailbox.", "issue.disk-full": "The disk is full, so nothing new can be kept. Make room; Petmail then goes on by itself. ({detail})", "issue.copy": "This Petmail may be a copy of another one: {detail}",
  "issue.mailbox-used-elsewhere": "Another copy of your Petmail has used a mailbox in the last hour; messages that it took are missing here. Stop it.", "issue.mailbox-away": "A mailbox is not connected: {detail}", "issue.mailbox-expiring": "Messages that wait in a mailbox are deleted there, unread, from {detail} on.",
  "issue.mailbox-suspended": "A mailbox is suspended and takes nothing more. Ask who runs it.", "issue.operator-notice": "Who runs a mailbox says: {detail}", "issue.contact-disputed": "Two parties claim to be {name}. Nothing is sent to them until you have compared the safety digits.",
  "issue.file-stopped": "A file with {name} does not go on. {detail}", "issue.file-wanted": "{name} waits for a file that you have sent: {detail}", "issue.messages-waiting": { one: "{count} message to {name} waits. {detail}", other: "{count} messages to {name} wait. {detail}" }, "issue.rendezvous-away": "Invitations wait for the rendezvous server: {detail}",
};

/** @type {Record<keyof typeof en, Text>} */
export const de = {
  skip: "Zum Inhalt", navigation: "Seiten", loading: "Wird geladen …", back: "Zurück", close: "Schließen", cancel: "Abbrechen", save: "Speichern", copy: "Kopieren", copied: "Kopiert", reload: "Neu laden",
  "nav.rooms": "Nachrichten", "nav.people": "Personen", "nav.mailboxes": "Postfächer", "nav.health": "Zustand", "nav.settings": "Einstellungen",
  reconnecting: "Petmail läuft auf diesem Rechner nicht oder startet gerade neu. Diese Seite macht von selbst weiter, sobald es wieder da ist.",
  unreachable: "Petmail antwortet nicht.", unreachableHint: "Läuft es? Starte es über das Menü oder mit „petmail-node start“; diese Seite macht dann von selbst weiter.",
  expired: "Diese Seite ist geschlossen", expiredWhy: "Ihre Adresse gilt einmal und nur eine Minute lang, damit niemand sonst sie benutzt. Oder Petmail hat seither einen neuen Schlüssel bekommen.",
  expiredHow: "Öffne Petmail noch einmal über das Menü deines Rechners oder mit diesem Befehl:",
  locked: "Petmail ist gesperrt", lockedHow: "Deine Nachrichten liegen verschlüsselt auf diesem Rechner. Gib das Passwort ein, um sie zu öffnen; bis dahin wird nichts gesendet oder abgeholt.", unlock: "Öffnen", unlocking: "Wird geöffnet …",
  unreadCount: { one: "{count} ungelesene Nachricht", other: "{count} ungelesene Nachrichten" }, problemCount: { one: "{count} Sache zu tun", other: "{count} Sachen zu tun" },
  noName: "(ohne Namen)", you: "Du", somebody: "Jemand", nothing: "nichts",
  search: "Suchen", searching: "Wird gesucht …", found: "Gefundenes", foundCount: { one: "{count} Nachricht", other: "{count} Nachrichten" },
  noRooms: "Noch keine Gespräche. Füge mit dem + oben jemanden hinzu.", draft: "Entwurf:", pendingContact: "Wartet auf die andere Seite", nothingWritten: "Noch nichts geschrieben", notUnderstood: "(von dieser Version nicht verstanden)",
  notUnderstoodLong: "Diese Nachricht enthält etwas, das diese Version von Petmail nicht versteht. Eine neuere vielleicht.",
  welcome: "Willkommen bei Petmail", welcomeText: "Drei Dinge, und du kannst Leuten schreiben, die du kennst:", chooseRoom: "Wähle ein Gespräch.",
  "step.name": "Sag, wie du heißt", "step.mailbox": "Besorge dir ein Postfach, damit Nachrichten dich erreichen", "step.contact": "Füge jemanden hinzu, den du kennst", "step.restore": "Du hattest Petmail schon und hast eine Sicherung?", restoreHow: "So wird sie eingespielt",
  conversationWith: "Gespräch mit {name}", details: "Einzelheiten", messages: "Nachrichten", nothingWrittenYet: "Hier wurde noch nichts geschrieben.", loadingOlder: "Frühere Nachrichten werden geladen …", toEnd: "Neueste", noSuchContact: "Diesen Kontakt gibt es nicht mehr.",
  youWrote: "Du schriebst", theyWrote: "{name} schrieb", reply: "Antworten", replyingTo: "Antwort auf", noReply: "Nicht darauf antworten", answeredGone: "Die Nachricht, auf die dies antwortet, ist nicht mehr da.", showAll: "Alles zeigen",
  "state.waiting": "wartet", "state.sent": "gesendet", "state.delivered": "zugestellt", "state.read": "gelesen", "state.failed": "nicht gesendet", "state.received": "",
  sendAgain: "Noch einmal senden", tryNow: "Jetzt versuchen", cancelMessage: "Nicht senden", write: "Nachricht schreiben", send: "Senden", emoji: "Emoji", newMessage: "Neue Nachricht",
  enterSends: "Enter sendet, Umschalt+Enter beginnt eine neue Zeile.", waitsForMailbox: "Die andere Seite hat noch kein Postfach: Was du schreibst, wird gesendet, sobald sie eines hat.", notSentWhileAway: "Petmail ist nicht da: Gerade kann nichts gesendet werden. Was du schreibst, bleibt hier stehen.",
  tooLong: { one: "Die Nachricht ist {count} Byte zu lang.", other: "Die Nachricht ist {count} Bytes zu lang. Sende sie in mehreren Teilen." },
  attach: "Dateien anhängen", filesToSend: "Zu sendende Dateien", removeFile: "{name} nicht senden", dropHere: "Dateien hier ablegen, um sie zu senden", attachFolder: "Ordner anhängen", unreadableFolder: "Der Browser kann diesen Ordner nicht lesen.", tooMuchInFolder: "Darin sind mehr als 200.000 Dateien.",
  "file.uploading": "wird gesendet", "file.fetching": "wird geholt", "file.paused": "angehalten", "file.failed": "steht still", "file.stored": "noch nicht abgeholt", "file.fetched": "abgeholt", "file.offered": "liegt auf seinem Speicherserver", "file.gone": "liegt nicht mehr auf seinem Speicherserver",
  pause: "Anhalten", goOn: "Weiter", cancelFile: "Abbrechen", actOnFile: "{act}: {name}", progressOf: "Fortschritt von {name}", filesOnTheirWay: "Dateien unterwegs", timeLeft: "noch {time}", seconds: { one: "{count} Sekunde", other: "{count} Sekunden" }, minutes: { one: "{count} Minute", other: "{count} Minuten" }, hours: { one: "{count} Stunde", other: "{count} Stunden" },
  fetch: "Holen", fetchNamed: "{name} holen", revoke: "Zurücknehmen", revokeNamed: "Zurücknehmen: {name}", savedAt: "Gespeichert als", keptUntil: "bleibt bis {when}", filesIn: { one: "{count} Datei", other: "{count} Dateien" },
  fetchLimit: "Dateien von dort", fetchLimitHint: "Was geholt wird, kommt in deinen Ordner für Downloads.", upTo: "Bis {size} von selbst holen", onlyWhenAsked: "Holen, wenn ich es sage", storage: "Speicher", storageWhat: "Dateien, die für eine Nachricht zu groß sind, warten hier verschlüsselt, bis sie geholt werden.", serviceForContacts: "Dein eigener Dienst: Große Dateien kommen dorthin, wenn kein Server Platz hat, und können sieben Tage lang geholt werden.", serviceForYou: "Dein eigener Dienst, nur für dich: Andere können von dort nichts holen.",
  fileNamed: "📎 {name}", saveFile: "{name} speichern", pictureNamed: "Bild: {name}",
  blockedCannotWrite: "Du hast diesen Kontakt gesperrt. Entsperre ihn, um zu schreiben.", disputedCannotWrite: "Es wird nichts gesendet, bis klar ist, ob es wirklich dieser Mensch ist: Sieh auf der Seite des Kontakts nach.",
  addContact: "Jemanden hinzufügen", addHow: "Einer von euch macht einen Code und sagt ihn dem anderen, am besten mündlich. Der andere gibt ihn ein. Das ist alles.",
  makeCode: "Code machen", makeCodeHint: "Du sagst ihn der anderen Person.", enterCode: "Code eingeben", enterCodeHint: "Dir wurde einer gesagt.", makingCode: "Code wird gemacht …", makeNewCode: "Neuen Code machen",
  theirName: "Wie nennst du die Person?", theirNameHint: "Nur du siehst diesen Namen. Du kannst ihn später ändern.", connect: "Verbinden", connecting: "Verbindung", code: "Der Code, der dir gesagt wurde", codeHint: "Eine Zahl und einige Wörter. Großschreibung, Leerzeichen und Striche sind egal.",
  completions: "Passende Wörter", unknownWord: "„{word}“ ist kein Wort, aus dem Codes bestehen. Meintest du:", noSuchWord: "Lass es dir buchstabieren.", asItIs: "Der Code ist selbst ausgedacht: so benutzen", givesMeMailbox: "Die Person gibt mir auch ein Postfach",
  tellCode: "Sag diesen Code weiter", tellCodeTo: "Sag {name} diesen Code, am besten mündlich. Er gilt einmal.", tellCodeToThem: "Sag der Person diesen Code, am besten mündlich. Er gilt einmal.", copyCode: "Code kopieren", qr: "Der Code als QR-Code", expires: "Er endet {when}, wenn niemand ihn benutzt.",
  cancelInvitation: "Einladung zurückziehen", dismiss: "Zur Kenntnis genommen", invitations: "Einladungen", searchPeople: "Personen suchen", nobodyYet: "Noch niemand. Füge jemanden hinzu, den du kennst.",
  "invitation.waiting": "Wartet auf die andere Seite", "invitation.exchanging": "Die andere Seite ist da; Schlüssel werden ausgetauscht", "invitation.pending": "Fast fertig: wartet auf die erste Nachricht", "invitation.confirmed": "Fertig: Ihr habt einander", "invitation.failed": "Es hat nicht geklappt", "invitation.expired": "Niemand hat rechtzeitig geantwortet", "invitation.cancelled": "Zurückgezogen",
  "contact.pending": "Noch nicht bestätigt", "contact.confirmed": "Verbunden", "contact.verified": "Geprüft", "contact.blocked": "Gesperrt", "contact.disputed": "Ist es wirklich dieser Mensch?",
  writeTo: "{name} schreiben", callsThemselves: "Nennt sich", contactSince: "In deinem Adressbuch seit {when}", lastHeard: "Zuletzt gehört: {when}", yourNameForThem: "Dein Name für die Person", onlyYouSee: "Nur du siehst ihn.",
  safetyWords: "Sicherheitswörter", safetyDigits: "Sicherheitsziffern", wordsWhy: "Wenn diese Wörter auf beiden Seiten gleich sind, sitzt niemand dazwischen. Vergleicht sie mündlich.", wordsCompared: "Ihr habt sie verglichen: Niemand sitzt dazwischen.", compareWords: "Sicherheitswörter vergleichen",
  compareHow: "Ruf {name} an, oder trefft euch. Jeder öffnet diese Seite für den anderen, und einer liest die Wörter vor. Sind es dieselben, in derselben Reihenfolge?", theyMatch: "Sie sind gleich", theyDiffer: "Sie sind verschieden",
  wordsDiffer: "Dann sitzt vielleicht jemand dazwischen, oder ihr seht verschiedene Kontakte an. Sag {name} hier nichts Geheimes. Entfernt diesen Kontakt auf beiden Seiten und fügt euch mit einem neuen Code wieder hinzu.",
  reachedAt: "Wohin deine Nachrichten gehen", keepsDays: { one: "bewahrt Nachrichten {count} Tag auf", other: "bewahrt Nachrichten {count} Tage auf" }, reachable: "In das Postfach der Person.", notReachable: "Die Person hat noch kein Postfach genannt.",
  careful: "Mit Bedacht", block: "Sperren", unblock: "Entsperren", remove: "Entfernen", resetKeys: "Neue Schlüssel", blockTitle: "{name} sperren?", blockText: "Nichts von dort wird mehr angenommen, und die Person erfährt es nicht. Du kannst es rückgängig machen.",
  resetTitle: "Neue Schlüssel für {name}?", resetText: "Tu das, wenn jemand deine Schlüssel kopiert haben könnte. Kontakte bekommen von selbst neue; vergleicht dann die Sicherheitsziffern noch einmal, und mach eine neue Sicherung.",
  removeTitle: "{name} entfernen?", removeText: "Alle Nachrichten mit dieser Person werden von diesem Rechner gelöscht, und was wartet, wird nicht gesendet. Das lässt sich nicht rückgängig machen.", accept: "Annehmen", offersMailbox: "Dir wird ein Postfach angeboten", offersMailboxText: "{name} gibt dir Platz auf diesem Server: Dort warten Nachrichten verschlüsselt, bis dein Rechner sie abholt.",
  mailboxesWhat: "Nachrichten an dich warten verschlüsselt in einem Postfach, bis dieser Rechner sie abholt. Wer es betreibt, kann sie nicht lesen und erfährt nicht, wer schrieb.",
  noMailbox: "Du kannst schreiben, aber niemand kann dir schreiben.", noMailboxHow: "Besorge dir ein Postfach: Bitte jemanden, der einen Postfach-Server betreibt, um ein Angebot oder einen Code, und füge es unten ein.",
  onlyLocal: "Dein einziges Postfach ist dieser Rechner.", onlyLocalHow: "Nachrichten erreichen dich nur, solange er an ist. Besorge dir ein zweites Postfach auf einem Server, der immer an ist: Bitte jemanden um ein Angebot oder einen Code, und füge es unten ein.",
  localMailbox: "Auf diesem Rechner", "mailbox.connected": "Verbunden", "mailbox.away": "Nicht verbunden", "mailbox.leaving": "Wird verlassen; was unterwegs ist, wird angenommen bis", "mailbox.suspended": "Vom Betreiber angehalten", "mailbox.refused": "Das Angebot wurde abgelehnt", "mailbox.redeeming": "Wird eingerichtet",
  quota: "Platz für {quota}", filesAlone: "Nur für Dateien: Nachrichten kommen dort keine an.", usedOf: "{used} von {quota} belegt", used: "Belegt", operatorSays: "Der Betreiber sagt:", removeMailbox: "Dieses Postfach verlassen?", removeMailboxText: "Deinen Kontakten wird gesagt, dass sie anderswohin schreiben sollen. Was dorthin unterwegs ist, wird noch angenommen, solange der Server es aufbewahrt.",
  addMailbox: "Postfach hinzufügen", offerOrCode: "Angebot oder Code", offerHint: "Ein Angebot beginnt mit PETMAIL-OFFER:, ein Code mit einer Zahl.", readQr: "QR-Code aus einem Bild lesen …", noQr: "In diesem Bild ist kein QR-Code.", asking: "Der Server wird gefragt …",
  giveMailbox: "Jemandem ein Postfach geben", givenOf: "{given} von {total} vergeben.", quotaInMb: "Platz in MB", daysKept: "Tage, die Nachrichten aufbewahrt werden", customers: "Postfächer, die du vergeben hast",
  allIsWell: "Alles in Ordnung", thingsToDo: "Was zu tun ist", outbox: "{waiting} warten, {sent} unterwegs, {delivered} zugestellt.", getMailbox: "Postfach besorgen", lookAtThem: "Zum Gespräch", lookAtContact: "Zum Kontakt", lookAtMailboxes: "Zu den Postfächern", lookAtInvitations: "Zu den Einladungen",
  doctor: "Alles untersuchen", doctorText: "Fragt jeden Server und sieht nach Uhr, Platte und Datenbank. Das dauert einige Sekunden.", examine: "Untersuchen", examining: "Wird untersucht …", "check.ok": "in Ordnung", "check.warning": "ansehen", "check.problem": "geht nicht",
  backup: "Sicherung", backupText: "Eine verschlüsselte Datei mit allem, was Petmail braucht, um anderswo weiterzuleben. Bewahre sie auf einer anderen Platte auf.", backupPassphrase: "Passwort der Sicherung", passphraseHint: "Mehrere Wörter, die du nicht vergisst. Ohne sie ist die Sicherung wertlos.", weak: "Kurze kann erraten, wer die Datei findet. Nimm mehrere Wörter.",
  onceMore: "Noch einmal", passphrasesDiffer: "Die beiden sind verschieden.", backupDone: "Gespeichert. Leg die Datei an einen sicheren Ort.", saveBackup: "Sicherung speichern", saving: "Wird gespeichert …",
  restore: "Sicherung einspielen", restoreText: "Aus einer Sicherung wird ein neues Petmail, hier oder auf einem anderen Rechner. Halte das alte vorher endgültig an: Zwei würden einander die Nachrichten wegnehmen.", backupFile: "Datei der Sicherung", restoring: "Wird eingespielt …", restoreDone: "Alles ist wieder da. Halte das alte Petmail endgültig an, falls es noch irgendwo läuft.", restoreElsewhere: "Dieses Petmail hat schon Kontakte oder ein Postfach, die eine Sicherung ersetzen würde. Spiel sie in einen anderen Ordner ein:",
  passphrase: "Passwort", passphraseText: "Mit einem Passwort kann niemand deine Nachrichten lesen, der die Platte dieses Rechners findet oder kopiert. Petmail fragt bei jedem Start danach.", newPassphrase: "Neues Passwort", presentPassphrase: "Passwort, das jetzt gilt", passphraseLost: "Mehrere Wörter. Wer sie vergisst, hat dieses Petmail verloren: Niemand kann es öffnen. Halte eine Sicherung bereit.", setPassphrase: "Passwort setzen", changePassphrase: "Passwort ändern", removePassphrase: "Passwort entfernen",
  encrypting: "Das dauert einige Sekunden …", passphraseHolds: "Das neue Passwort gilt.", passphraseGone: "Petmail hat kein Passwort mehr.",
  panic: "Jemand könnte meine Schlüssel kopiert haben", panicText: "Alle Kontakte und Postfächer bekommen neue Schlüssel, und eine gestohlene Kopie ist nichts mehr wert. Niemand muss neu hinzugefügt werden.", resetAll: "Alle Schlüssel ersetzen",
  resetDone: { one: "{count} Kontakt wird benachrichtigt.", other: "{count} Kontakte werden benachrichtigt." }, resetSkipped: { one: "{count} konnte es nicht werden.", other: "{count} konnten es nicht werden." },
  profile: "Du", profileHint: "Was die Leute sehen, die du kennst.", displayName: "Dein Name", yourPicture: "Dein Bild", removePicture: "Bild entfernen", noPicture: "Das ist kein Bild, das sich lesen lässt.", noPictureHint: "Nimm eines in PNG, JPEG oder WebP.", privacy: "Privatsphäre",
  readReceipts: "Kontakten sagen, was ich gelesen habe", readReceiptsHint: "Sie sehen dann „gelesen“ an ihren Nachrichten.", highPrivacy: "Weniger darüber sagen, wann ich da bin", highPrivacyHint: "Bestätigungen werden bis zu einer Minute verzögert.", copiesEverywhere: "Alle Postfächer eines Kontakts zugleich benutzen", copiesEverywhereHint: "Sonst wird das erste benutzt, das geht.",
  thisBrowser: "Dieser Browser", theme: "Aussehen", "theme.system": "Wie der Rechner", "theme.light": "Hell", "theme.dark": "Dunkel", language: "Sprache", notifications: "Benachrichtigungen", "notify.off": "Keine", "notify.name": "Wer schrieb", "notify.text": "Wer was schrieb", notifyRefused: "Der Browser erlaubt es nicht. Sieh in seinen Einstellungen für diese Seite nach.",
  about: "Über Petmail", version: "Version", folder: "Ordner", rendezvous: "Rendezvous-Server",
  "reason.contact-blocked": "Du hast diesen Kontakt gesperrt: Nichts wird angenommen oder gesendet.",
  "reason.contact-disputed": "Zwei geben sich als {name} aus: Einer hat vielleicht Schlüssel gestohlen. Vergleicht die Sicherheitsziffern, wenn ihr euch seht. Stimmen sie überein, sag es; sonst entferne den Kontakt, und fügt euch neu hinzu.",
  "reason.no-own-mailbox": "Die Person kann dir erst schreiben, wenn du ein Postfach hast.", "reason.first-message": "Wartet auf die erste Nachricht. Beide Rechner müssen an sein.", "reason.no-mailbox-there": "Die Person hat noch kein Postfach: Was du schreibst, wartet hier, bis sie eines hat.",
  "reason.own-keys-replaced": "Deine Schlüssel wurden ersetzt; die neuen sind dort noch nicht angekommen.", "reason.their-keys-replaced": "Die Person hat ihre Schlüssel am {detail} ersetzt. Vergleicht die Sicherheitsziffern.",
  "reason.tell-code": "Sag der anderen Person den Code. Er gilt einmal.", "reason.exchanging": "Das dauert einen Moment, solange beide online sind.", "reason.nobody-answered": "Mach einen neuen Code, und sag ihn, wenn die andere Person da ist.",
  "reason.invitation-failed": "{detail}",
  "reason.cancelled": "Du wolltest sie nicht senden.", "reason.not-fetched": "Der Rechner der Person hat sie 60 Tage lang nicht abgeholt.", "reason.held-back": "Frühere Nachrichten müssen erst abgeholt werden; diese folgt von selbst.", "reason.delivery-trouble": "Es wird von selbst noch einmal versucht. {detail}", "reason.on-its-way": "Unterwegs zum Postfach der Person.",
  "reason.offer-refused": "{detail} Entferne es, und bitte um ein anderes Angebot.", "reason.not-redeemed": "Der Server konnte noch nicht gefragt werden: {detail}", "reason.redeeming": "Der Server wird gefragt.", "reason.connecting": "Verbindet …", "reason.mailbox-trouble": "{detail} Es wird von selbst noch einmal versucht.",
  "reason.no-storage": "Du hast keinen Speicher für Dateien dieser Größe. Bitte darum, wo du dein Postfach her hast, oder nimm einen eigenen Dienst: petmail-node storage add s3. Dann weiter.", "reason.storage-full": "Der Speicher ist voll: {detail} Nimm Dateien zurück, die niemand mehr braucht, oder bitte den Betreiber um mehr. Dann weiter.", "reason.storage-refused": "Der Speicher lehnt ab: {detail}",
  "reason.changed-on-the-way": "Was beim Speicher ankommt, ist nicht das Gesendete; etwas dazwischen verändert es. Versuch es in einem anderen Netz: {detail}", "reason.file-gone": "Sie liegt nicht mehr auf dem Speicherserver: Sie wurde zurückgenommen, oder ihre Zeit ist um. Bitte darum, sie noch einmal zu senden.",
  "reason.file-damaged": "Der Speicherserver hat etwas anderes geliefert, als dort gespeichert war; davon wurde nichts gesichert. Versuch es noch einmal, oder bitte darum, sie noch einmal zu senden.", "reason.file-unannounced": "Was gespeichert ist, ist nicht, was die Nachricht angekündigt hat; nichts wurde gesichert. Frag die Person.",
  "reason.file-unreadable": "Sie kann nicht gelesen werden: {detail}", "reason.file-unwritable": "Sie kann nicht gesichert werden: {detail}", "reason.no-room": "Auf der Platte ist kein Platz: {detail} Schaff Platz, dann weiter.", "reason.name-taken": "Etwas mit diesem Namen gibt es schon: {detail} Sichere sie woanders.",
  "reason.sender-asked": "Sie ist nicht mehr, wo sie war. Der Rechner der Person wurde gefragt, wo sie jetzt ist, und antwortet, sobald er an ist.", "reason.transfer-waits": "Es geht von selbst weiter: {detail}", "reason.transfer-trouble": "{detail}", "reason.left-out": "Links, Pipes und Geräte bleiben weg: {detail}",
  "issue.no-mailbox": "Niemand kann dir schreiben, weil du kein Postfach hast.", "issue.disk-full": "Die Platte ist voll, also kann nichts Neues aufbewahrt werden. Schaffe Platz; Petmail macht dann von selbst weiter. ({detail})", "issue.copy": "Dieses Petmail ist vielleicht die Kopie eines anderen: {detail}",
  "issue.mailbox-used-elsewhere": "Eine andere Kopie deines Petmail hat in der letzten Stunde ein Postfach benutzt; was sie abholte, fehlt hier. Halte sie an.", "issue.mailbox-away": "Ein Postfach ist nicht verbunden: {detail}", "issue.mailbox-expiring": "Was in einem Postfach wartet, wird dort ab dem {detail} ungelesen gelöscht.",
  "issue.mailbox-suspended": "Ein Postfach ist angehalten und nimmt nichts mehr an. Frag den Betreiber.", "issue.operator-notice": "Der Betreiber eines Postfachs sagt: {detail}", "issue.contact-disputed": "Zwei geben sich als {name} aus. Es wird nichts gesendet, bis ihr die Sicherheitsziffern verglichen habt.",
  "issue.file-stopped": "Eine Datei mit {name} steht still. {detail}", "issue.file-wanted": "{name} wartet auf eine Datei, die du gesendet hast: {detail}", "issue.messages-waiting": { one: "{count} Nachricht an {name} wartet. {detail}", other: "{count} Nachrichten an {name} warten. {detail}" }, "issue.rendezvous-away": "Einladungen warten auf den Rendezvous-Server: {detail}",
};

/** @type {Record<string, Record<string, Text>>} */
const TEXTS = { en, de };

/** The languages, each by its own name. @type {[string, string][]} */
export const languages = [["en", "English"], ["de", "Deutsch"]];

const usual = navigator.language.startsWith("de") ? "de" : "en";

/** The language that this browser has chosen. */
export const language = stored("petmail-language", usual, Object.keys(TEXTS));

const plural = computed(() => new Intl.PluralRules(language.value));

/**
 * Says something in the chosen language.
 * @param {keyof typeof en} key @param {Record<string, string|number>} [params]
 * @returns {string}
 */
export const t = (key, params = {}) => filled(TEXTS[language.value]?.[key] ?? en[key], params);

/** What a message says, in one line. @param {import("../types").Message} message */
export const said = (message) => textOf(message) ?? (message.file ? t("fileNamed", { name: message.file.name }) : t("notUnderstood"));

/** @param {Text} text @param {Record<string, string|number>} params */
function filled(text, params) {
  const form = typeof text === "string" ? text : text[plural.value.select(Number(params.count)) === "one" ? "one" : "other"];
  return form.replace(/\{(\w+)\}/g, (_, name) => String(params[name] ?? ""));
}

/** @param {string} key @returns {key is keyof typeof en} */
const isKey = (key) => key in en;

/**
 * Says why something is as it is, and what to do. What has no words here is said in the node's own.
 * @param {{reason: string|null, reason_code: string|null, reason_detail: string|null}} thing @param {string} name
 */
export function reasonOf(thing, name) {
  const key = `reason.${thing.reason_code}`;
  const detail = sentence(thing.reason_detail);
  return isKey(key) ? t(key, { name: safeName(name), detail }) : safeText(thing.reason ?? "");
}

/** Says what there is to do. @param {import("../types").Issue} issue */
export function issueText(issue) {
  const key = `issue.${issue.code}`;
  const params = { count: issue.count ?? 1, name: safeName(issue.name ?? ""), detail: safeText(issue.detail ?? "") };
  return isKey(key) ? t(key, params) : safeText(issue.text);
}

/** @param {string|null} detail */
function sentence(detail) {
  if (!detail) return "";
  const text = safeText(detail);
  return text[0]?.toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
