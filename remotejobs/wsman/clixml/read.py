"""From CLIXML to Python: one element of the wire, decoded when somebody reads it (MS-PSRP 2.2.5).

Knows CLIXML's elements and what PowerShell's own reader refuses. Must not know records, streams or where bytes come
from. A host is not trusted: no document type, so no entities; tags counted before the XML is parsed; depth limited;
references resolved by identity, so that neither cycles nor repeated references cost anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from lxml import etree

from remotejobs.errors import LimitError, ProtocolError
from remotejobs.wsman.clixml.primitives import PRIMITIVES, unescape
from remotejobs.wsman.clixml.values import NO_BASE, OrderedDictionary, PSObject, XmlDocument, text

_T = TypeVar("_T")
MAX_DEPTH: Final = 50  # PowerShell's own: a value inside 49 others is not read
MAX_ITEMS: Final = 2_000_000  # some 250 MB while decoding
_MAX_KEYS: Final = 1 << 24  # characters of the texts that are made for keys of dictionaries
_LONGEST_OPERATION: Final = 1000  # characters, in the text of a progress record

_BOM = b"\xef\xbb\xbf"
_NAMESPACE = "{http://schemas.microsoft.com/powershell/2004/04}"
_OURS = re.compile(r"1(\.[0-9]{1,10}){1,3}")
_START = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?<[A-Za-z]")
_REFERENCE = re.compile(rb"&#(?:x([0-9a-fA-F]{1,8})|([0-9]{1,10}));")
_HEAD = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?<([A-Za-z0-9]+)[^>]*>")
_NAMES = re.compile(rb"\s*<TN\b[^>]*>((?:\s*<T>[^<]*</T>)*)\s*</TN>")
_INSIDE = re.compile(rb"\s*(?:<ToString>[^<]*</ToString>\s*|<ToString\s*/>\s*)?<([A-Za-z0-9]+)")

_PARSER = etree.XMLParser(
    encoding="utf-8", resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True, huge_tree=True
)
_DOCUMENT_PARSER = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True)

_PLAIN = frozenset({"LST", "IE", "DCT"})
_CONTAINERS = _PLAIN | {"STK", "QUE"}
_ORDERED = "System.Collections.Specialized.OrderedDictionary"
_TYPE_NAMES = {
    **{primitive.tag: (primitive.name,) for primitive in PRIMITIVES},
    "LST": ("System.Collections.ArrayList", "System.Object"),
    "IE": ("System.Collections.ArrayList", "System.Object"),
    "DCT": ("System.Collections.Hashtable", "System.Object"),
    "STK": ("System.Collections.Stack", "System.Object"),
    "QUE": ("System.Collections.Queue", "System.Object"),
    "PR": ("System.Management.Automation.ProgressRecord", "System.Object"),
}
_PROPERTY_BAG = ("System.Management.Automation.PSCustomObject", "System.Object")
_CIM_INSTANCE = "Microsoft.Management.Infrastructure.CimInstance"
_CIM_METADATA = ("__ClassMetadata", "__InstanceMetadata")


def deserialize(raw: bytes, *, max_depth: int = MAX_DEPTH, max_items: int = MAX_ITEMS) -> Any:
    """Decode one element.

    Args:
        raw: The element in UTF-8, with or without a byte order mark. Empty is $null, as in PSRP's messages.
        max_depth: A value this deep inside others is refused.
        max_items: XML tags that are still read.

    Returns:
        A natural Python value or a PSObject; the module `values` says which.

    Raises:
        ProtocolError: It is no CLIXML, or PowerShell's reader would refuse it too.
        LimitError: It goes past a limit.
    """
    return _Reader(max_depth).value(_parse(raw, max_items), 1) if raw else None


def objects(document: bytes, *, max_depth: int = MAX_DEPTH, max_items: int = MAX_ITEMS) -> list[Any]:
    """Decode a document: the elements inside `<Objs>`, as Import-Clixml reads them.

    Args:
        document: The whole of it in UTF-8, with or without a byte order mark.
        max_depth: As for `deserialize`, of each element.
        max_items: As for `deserialize`, of all elements.

    Raises:
        ProtocolError: As for `deserialize`, or it is of a version that is none of CLIXML's 1.x.
        LimitError: As for `deserialize`.
    """
    root = _parse(document, max_items)
    if root.tag != "Objs" or not _OURS.fullmatch(root.get("Version", "1.1.0.1")):
        raise ProtocolError("A document of the host is not CLIXML of version 1.")
    reader = _Reader(max_depth)  # one for all: an object may refer to one before it
    return [reader.value(element, 1) for element in _children(root)]


def type_names(raw: bytes) -> tuple[str, ...]:
    """The .NET type of an element and its bases, most special first, without decoding the rest.

    Returns:
        `("System.Int32",)` for `<I32>`, the type names of an object as the host wrote them, those of a property bag
        where it wrote none, and nothing for $null or what is no CLIXML.
    """
    head = _HEAD.match(raw.removeprefix(_BOM))
    if head is None:
        return ()
    if head[1] != b"Obj":
        return _TYPE_NAMES.get(head[1].decode(), ())
    if head[0].endswith(b"/>"):
        return _PROPERTY_BAG
    found = _NAMES.match(head.string, head.end())
    if found is not None:
        names = re.findall(rb"<T>([^<]*)</T>", found[1])
        return tuple(unescape(_text(name)) for name in names)
    inside = _INSIDE.match(head.string, head.end())
    return _TYPE_NAMES.get(inside[1].decode(), _PROPERTY_BAG) if inside is not None else _PROPERTY_BAG


def _text(content: bytes) -> str:
    """The text of an element that holds nothing else."""
    return content.decode("utf-8", "replace").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _parse(raw: bytes, max_items: int) -> etree._Element:
    tags = raw.count(b"<")
    if tags > max_items:
        raise LimitError(
            f"An object of the host has {tags} XML tags, more than the {max_items} that are read. Let the script send "
            "smaller objects: one by one instead of an array, or with Select-Object.",
            limit=max_items,
        )
    raw = raw.removeprefix(_BOM)
    if not _START.match(raw):  # whatever it is, a document type among it
        raise ProtocolError("An object of the host is not CLIXML: it does not begin with an element.")
    if b"&#" in raw:
        raw = _REFERENCE.sub(_escape_reference, raw)
    try:
        root = etree.fromstring(raw, _PARSER)
    except etree.XMLSyntaxError as error:
        raise ProtocolError(f"An object of the host is not well-formed CLIXML: {str(error)[:200]}.") from None
    if root.tag.startswith(_NAMESPACE):
        for element in root.iter():
            element.tag = element.tag.removeprefix(_NAMESPACE)
    return root


def _escape_reference(found: re.Match[bytes]) -> bytes:
    """Turn a reference to a character that XML 1.0 forbids, but .NET writes (`&#xFFFE;`), into PowerShell's escape."""
    code = int(found[1], 16) if found[1] else int(found[2])
    legal = code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code > 0xFFFF
    return found[0] if legal else b"_x%04X_" % code


class _Reader:
    """One message: its RefIds and the loop over its elements. `depth` counts values inside each other."""

    __slots__ = ("_keys", "_max_depth", "_objects", "_types")

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._keys = 0
        self._objects: dict[str | None, Any] = {}
        self._types: dict[str | None, tuple[str, ...]] = {}

    def value(self, element: etree._Element, depth: int) -> Any:
        if depth >= self._max_depth:
            raise LimitError(f"An object of the host is nested {depth} values deep; that many are not read.")
        tag = element.tag
        read = _READ.get(tag)
        if read is not None:
            return _primitive(element, read)
        if tag == "Obj":
            return self._object(element, depth)
        if tag == "Nil":
            return None
        if tag == "Ref":
            found = self._objects.get(element.get("RefId"))
            if found is None:
                raise ProtocolError("An object of the host refers to another one that it does not have.")
            return found
        if tag == "PR":
            return self._progress(element, depth)
        raise _unexpected(element)

    def _object(self, element: etree._Element, depth: int) -> Any:
        children = _children(element)
        ref_id = element.get("RefId")
        types: tuple[str, ...] = ()
        to_string: str | None = None
        base: Any = NO_BASE
        whole: PSObject | None = None
        for child in children:
            tag = child.tag
            read = _READ.get(tag)
            if tag == "TN" or tag == "TNRef":
                types = self._type_names(child)
            elif read is not None:
                base = _primitive(child, read)
            elif whole is None and tag in _PLAIN and child is children[-1]:  # a container and nothing of its own
                return self._fill(child, self._keep(ref_id, _container(tag, types)), depth + 1)
            else:
                # Remembered before its content is read, which may refer to it.
                whole = whole or self._keep(ref_id, PSObject())
                if tag == "ToString":
                    to_string = _primitive(child, unescape)
                elif tag == "Props":
                    self._members(child, whole.adapted, depth)
                elif tag == "MS":
                    self._members(child, whole.extended, depth)
                elif tag in _CONTAINERS:
                    types = types or _TYPE_NAMES[tag]
                    base = self._fill(child, _container(tag, types), depth + 1)
                elif tag == "Obj" or tag == "PR":
                    base = self.value(child, depth + 1)
                else:
                    raise _unexpected(child)
        if whole is None:
            if base is not NO_BASE and not types:
                return self._keep(ref_id, base)
            whole = self._keep(ref_id, PSObject())
        whole.type_names, whole.to_string, whole.base = types, to_string, base
        if types and types[0].startswith(_CIM_INSTANCE):
            for name in _CIM_METADATA:  # how a CimInstance is sent, no properties of it
                whole.extended.pop(name, None)
        return whole

    def _keep(self, ref_id: str | None, value: _T) -> _T:
        if ref_id is not None:
            self._objects[ref_id] = value
        return value

    def _type_names(self, element: etree._Element) -> tuple[str, ...]:
        ref_id = element.get("RefId")
        if element.tag == "TN":
            children = _children(element)
            for child in children:
                if child.tag != "T" or len(child):
                    raise _unexpected(child)
            types = self._types[ref_id] = tuple([unescape(name) for child in children if (name := child.text)])
            return types
        found = self._types.get(ref_id) if ref_id is not None else None
        if found is None:
            raise ProtocolError("An object of the host refers to type names that it does not have.")
        return found

    def _members(self, element: etree._Element, members: dict[str, Any], depth: int) -> None:
        """The children of Props or MS. A member set inside (PSStandardMembers) is checked, but is no property."""
        shallow = depth + 1 < self._max_depth
        for child in _children(element):
            name = child.get("N")
            if name is None:
                raise ProtocolError("An object of the host has a member without a name.")
            if "_" in name:
                name = unescape(name)
            read = _READ.get(child.tag)
            if read is not None and shallow:  # most are: no call for them, and none for most texts
                content = child.text or ""
                if read is unescape and "_" not in content and not len(child):
                    members[name] = content
                else:
                    members[name] = _primitive(child, read)
            elif child.tag == "MS" and depth < self._max_depth:
                self._members(child, {}, depth + 1)
            else:
                members[name] = self.value(child, depth + 1)

    def _fill(self, element: etree._Element, into: Any, depth: int) -> Any:
        """Read a container's elements into an empty list or dict."""
        if isinstance(into, list):
            for child in _children(element):
                into.append(self.value(child, depth))
            return into
        for entry in _children(element):
            pair = _children(entry)
            if entry.tag != "En" or [child.get("N", "").lower() for child in pair] != ["key", "value"]:
                raise ProtocolError("A dictionary of the host has an entry that is not a key and a value.")
            key = self.value(pair[0], depth)
            if key is None:
                raise ProtocolError("A dictionary of the host has $null for a key.")
            into[key if isinstance(key, str | int | float) else self._key(key)] = self.value(pair[1], depth)
        return into

    def _key(self, key: Any) -> str:
        """Other keys by their text: not all are hashable, and a host could choose ones whose hashes all collide."""
        shown = text(key)
        self._keys += len(shown)
        if self._keys > _MAX_KEYS:
            raise LimitError("The keys of a dictionary of the host are longer than is read.", limit=_MAX_KEYS)
        return shown

    def _progress(self, element: etree._Element, depth: int) -> PSObject:
        """`<PR>`: the progress record of stderr and of old files."""
        children = _children(element)
        if [child.tag for child in children[:2] + children[3:]] != ["AV", "AI", "PI", "PC", "T", "SR", "SD"]:
            raise ProtocolError("A progress record of the host lacks a member.")
        activity, status, kind = (_primitive(children[n], unescape) for n in (0, 7, 5))
        number, parent, percent, seconds = (_primitive(children[n], _READ["I32"]) for n in (1, 3, 4, 6))
        operation = self.value(children[2], depth + 1)
        if kind.lower() not in ("processing", "completed"):
            raise ProtocolError("A progress record of the host is of no known type.")
        members = {
            "ActivityId": number,
            "ParentActivityId": parent,
            "Activity": activity,
            "StatusDescription": status,
            "CurrentOperation": operation,
            "PercentComplete": percent,
            "SecondsRemaining": seconds,
            "RecordType": int(kind.lower() == "completed"),
        }
        shown = (
            f"parent = {parent} id = {number} act = {activity} stat = {status} "
            f"cur = {operation[:_LONGEST_OPERATION] if isinstance(operation, str) else ''} "
            f"pct = {percent} sec = {seconds} type = {kind}"
        )
        return PSObject(_TYPE_NAMES["PR"], shown, adapted=members)


def _children(element: etree._Element) -> list[etree._Element]:
    """The child elements. Text between them is refused."""
    children = list(element)
    if element.text:
        _blank(element.text, element)
    for child in children:
        if child.tail:
            _blank(child.tail, element)
    return children


def _blank(content: str, element: etree._Element) -> None:
    if not content.isspace():
        raise ProtocolError(f"An object of the host has text between the elements of <{element.tag!s:.40}>.")


def _container(tag: str, types: tuple[str, ...]) -> list[Any] | dict[Any, Any]:
    if tag != "DCT":
        return []
    return OrderedDictionary() if types and types[0].removeprefix("Deserialized.") == _ORDERED else {}


def _primitive(element: etree._Element, read: Callable[[str], Any]) -> Any:
    if len(element):
        raise _unexpected(element[0])
    try:
        return read(element.text or "")
    except (ValueError, LookupError, ArithmeticError):
        # The text stays out of the message: it may be a secret.
        names = _TYPE_NAMES.get(element.tag, ("System.Int32",))
        raise ProtocolError(f"An object of the host has a <{element.tag}> that is no {names[0]}.") from None


def _xml_document(written: str) -> XmlDocument:
    document = unescape(written)
    try:
        etree.fromstring(document.encode(), _DOCUMENT_PARSER)
    except etree.XMLSyntaxError as error:
        raise ValueError(error) from None
    return XmlDocument(document)


def _unexpected(element: etree._Element) -> ProtocolError:
    return ProtocolError(f"An object of the host has an element that is unknown here: <{element.tag!s:.40}>.")


_READ: dict[str, Callable[[str], Any]] = {primitive.tag: primitive.read for primitive in PRIMITIVES}
_READ["XD"] = _xml_document
