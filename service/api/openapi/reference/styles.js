// RapiDoc writes style attributes into its templates and sets others later. Our content security policy forbids such
// attributes, wherever they come from, and allows the same as properties.
{
    const { get, set } = Object.getOwnPropertyDescriptor(Element.prototype, "innerHTML");
    Object.defineProperty(HTMLTemplateElement.prototype, "innerHTML", {
        get,
        set(html) { set.call(this, String(html).replace(/(\s)style(\s*=\s*["'])/g, "$1data-style$2")); },
    });

    const { importNode } = Document.prototype;
    Document.prototype.importNode = function (node, ...rest) {
        const copy = importNode.call(this, node, ...rest);
        for (const styled of copy.querySelectorAll?.("[data-style]") ?? []) styled.style.cssText = styled.dataset.style;
        return copy;
    };

    const { setAttribute } = Element.prototype;
    Element.prototype.setAttribute = function (name, value) {
        if (name === "style") this.style.cssText = value;
        else setAttribute.call(this, name, value);
    };
}
